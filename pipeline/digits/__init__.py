"""The reference task: a spoken digit, a picture of a handwritten one and the path of the pen that wrote one."""
