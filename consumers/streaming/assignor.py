"""One member of the group works, the others stand by."""

from aiokafka.cluster import ClusterMetadata
from faust.assignor.client_assignment import ClientAssignment
from faust.assignor.partition_assignor import MemberAssignmentMapping, MemberMetadataMapping, PartitionAssignor


class OneAtWork(PartitionAssignor):
    """Gives all partitions to one member: the one that has them, or else the first by name.

    A window adds up all partitions, so two members with a share each would take turns at publishing too little.
    """

    def _perform_assignment(
        self, cluster: ClusterMetadata, member_metadata: MemberMetadataMapping
    ) -> MemberAssignmentMapping:
        members = {member: self._get_client_metadata(metadata) for member, metadata in member_metadata.items()}
        chosen = min(members, key=lambda member: (not members[member].assignment.actives, member))
        assignments = super()._perform_assignment(cluster, {chosen: member_metadata[chosen]})
        self._update_member_urls(members)
        idle = {member: ClientAssignment(actives={}, standbys={}) for member in members if member != chosen}
        standing_by = self._protocol_assignments(idle, {}, {}, {})
        return {**assignments, **standing_by}
