package api

import (
	"fmt"
	"strings"
)

// ProtocolPage is docs/protocol.md: the protocol table for people. A test keeps
// the page current.
func ProtocolPage() string {
	var page strings.Builder
	page.WriteString(`# The Kafka protocol, as Chronik serves it

Made from the table in ` + "`broker/api/registry.go`" + ` by ` + "`go test ./broker/api -run ProtocolPage -update`" + `.

A version is here only when all of it is served. Everything is record batches v2:
older message formats, and with them Produce before 3 and Fetch before 4, are not.
A key that is not here, or another version, closes the connection, as in Kafka;
ApiVersions alone answers every version.

Behind one address for a whole cluster (` + "`kafka.advertise=shared`" + `) every broker takes every request, and has it
answered by whom the last but one column names: any broker, the owner of each partition, the coordinator of each group,
or all brokers.

| key | API | versions | answered by | remark |
|---|---|---|---|---|
`)
	spreads := spreads()
	for _, r := range routes() {
		fmt.Fprintf(&page, "| %d | %s | %d–%d | %s | %s |\n", r.key, r.name, r.min, r.max, spreads[r.key].who, r.note)
	}
	return page.String()
}
