package config

import (
	"fmt"
	"strings"

	"github.com/chronik-stream/chronik/internal/dynamicconfig"
	"github.com/chronik-stream/chronik/internal/topicconfig"
)

// Markdown is docs/configuration.md.
func Markdown() string {
	var b strings.Builder
	b.WriteString(`# Configuration

Generated from the table in cmd/chronik/config/settings.go; a test keeps it current
(` + "`go test ./cmd/chronik/config -update`" + ` writes it anew).

Values come from, weakest first: the defaults below, a YAML file (` + "`--config`" + `, ` + "`CHRONIK_CONFIG`" + `), the
environment, flags. Every setting has a variable and can be given as ` + "`--set key=value`" + ` to the
commands that run a server. An unknown key is an error, and so is an unknown variable that begins
with ` + "`CHRONIK_`" + `. ` + "`chronik config print`" + ` shows every value in force and where it was given; secrets are
hidden.

In YAML, keys may be nested or dotted:

` + "```yaml" + `
kafka:
  listen: localhost:9092
objstore.provider: local
compactor:
  first_age: 10s
` + "```" + `

Durations are written ` + "`250ms`, `5s`, `1h30m`" + `; sizes ` + "`64MiB`, `10GB`, `1048576`" + `; lists with commas or as YAML lists.

| key | value | default | what it does |
|---|---|---|---|
`)
	for _, s := range Default().settings() {
		names := "`" + s.Variable() + "`"
		for _, alias := range s.Aliases {
			names += ", `" + alias + "`"
		}
		value := "`" + s.Default + "`"
		if s.Default == "" {
			value = "unset"
		}
		if s.Run != nil {
			run := "`" + *s.Run + "`"
			if *s.Run == "" {
				run = "unset"
			}
			value += "; `chronik run`: " + run
		}
		fmt.Fprintf(&b, "| `%s`<br>%s | %s | %s | %s |\n", s.Key, names, s.Value.Type(), value, s.Doc)
	}
	b.WriteString(`
The client commands (` + "`topic`, `produce`, `consume`, `sql`" + `) need two addresses only: ` + "`--bootstrap`" + `
(` + "`CHRONIK_BOOTSTRAP`" + `, default 127.0.0.1:9092) and ` + "`--url`" + ` (` + "`CHRONIK_URL`" + `, default http://127.0.0.1:6092).
Settings of topics are in [topics.md](topics.md).

## Under Kafka's names

Kafka's tools see the configuration of a broker by Kafka's names for it (` + "`kafka-configs --describe --all`" + `).
These can be altered while the cluster runs, for all brokers (` + "`kafka-configs --alter --entity-type brokers --entity-default`" + `);
those marked so also for one of them (` + "`--entity-name 1`" + `). They come before the settings above, and are kept in etcd.

| Kafka's name | one broker | what it does |
|---|---|---|
`)
	for _, k := range dynamicconfig.Keys() {
		if k.Alterable {
			fmt.Fprintf(&b, "| `%s` | %s | %s |\n", k.Name, map[bool]string{true: "yes", false: "no"}[k.PerBroker], k.Doc)
		}
	}
	b.WriteString(`
These are settings of the process that Kafka's tools show:

| Kafka's name | setting |
|---|---|
| ` + "`broker.id` | `broker.id`" + ` |
`)
	names := kafkaNames()
	for _, s := range Default().settings() {
		if name, ok := names[s.Key]; ok {
			fmt.Fprintf(&b, "| `%s` | `%s` |\n", name, s.Key)
		}
	}
	b.WriteString(`
On a group of the consumer protocol, in place of what holds for all (` + "`--entity-type groups --entity-name payments`" + `):

| Kafka's name | what it does |
|---|---|
`)
	for _, k := range dynamicconfig.GroupKeys() {
		fmt.Fprintf(&b, "| `%s` | %s |\n", k.Name, k.Doc)
	}
	b.WriteString(`
The level of the log (` + "`--entity-type broker-loggers`" + `, logger ` + "`root`" + `) can be altered until the process ends.
`)
	return b.String()
}

// TopicsMarkdown is docs/topics.md.
func TopicsMarkdown() string {
	var b strings.Builder
	b.WriteString(`# Topic settings

Generated from internal/topicconfig; a test keeps it current (` + "`go test ./cmd/chronik/config -update`" + `
writes it anew).

Set when a topic is created, changed later, shown with their source:

` + "```sh" + `
chronik topic create orders --partitions 6 --config columnar.enabled=true
chronik topic alter orders --config retention.ms=86400000
chronik topic describe orders
` + "```" + `

Booleans are exactly ` + "`true` or `false`" + `. An unknown key and a value that is not allowed are refused with
INVALID_CONFIG. Defaults are those of the cluster ([configuration.md](configuration.md)), else the ones below.

`)
	for _, section := range []struct {
		title  string
		effect topicconfig.Effect
	}{
		{"Acted on", topicconfig.Active},
		{"Kept and shown until their feature is built", topicconfig.Stored},
		{"Accepted for Kafka's tools, without effect", topicconfig.Inert},
	} {
		fmt.Fprintf(&b, "## %s\n\n| key | values | default | what it does |\n|---|---|---|---|\n", section.title)
		for _, k := range topicconfig.Keys() {
			if k.Effect != section.effect {
				continue
			}
			names := "`" + k.Name + "`"
			for _, alias := range k.Aliases {
				names += "<br>alias `" + alias + "`"
			}
			value := "`" + k.Default + "`"
			if k.Default == "" {
				value = "unset"
			}
			if k.Name == "durability" {
				value = "`durability.default`" // TopicDefaults always has it
			}
			fmt.Fprintf(&b, "| %s | %s | %s | %s |\n", names, k.Values, value, k.Doc)
		}
		b.WriteString("\n")
	}
	return strings.TrimSuffix(b.String(), "\n")
}
