import java.nio.file.Files;
import java.nio.file.Path;
import kafka.Kafka;
import kafka.tools.StorageTool;

/**
 * Formats a Kafka node's data folder if it is new, then runs the node until SIGTERM.
 *
 * <p>Arguments: cluster id, server.properties, data folder. One Java process instead of two makes the first start
 * a second shorter. The system property {@code trimodal.bound_to} names a process whose end ends the node too.
 */
public final class KafkaNode {
    public static void main(String[] arguments) {
        Long boundTo = Long.getLong("trimodal.bound_to");
        if (boundTo != null) {
            ProcessHandle.of(boundTo)
                .ifPresentOrElse(owner -> owner.onExit().thenRun(() -> System.exit(0)), () -> System.exit(0));
        }
        String clusterId = arguments[0];
        String properties = arguments[1];
        if (!Files.exists(Path.of(arguments[2], "meta.properties"))) {
            String[] format = {"format", "--cluster-id", clusterId, "--config", properties, "--ignore-formatted"};
            int status = StorageTool.execute(format, System.out);
            if (status != 0) {
                System.exit(status);
            }
        }
        Kafka.main(new String[] {properties});
    }
}
