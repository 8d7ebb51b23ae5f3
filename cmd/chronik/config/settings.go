package config

import (
	"math"
	"strings"
	"time"
)

// Setting is one row of the table.
type Setting struct {
	Key     string   // kafka.listen
	Aliases []string // further variables, strongest first
	Default string
	Run     *string // the default under `chronik run`, where that is another
	Doc     string  // one sentence or two
	Topic   string  // the topic setting that this is the cluster's default of
	Value   Value

	source Source
}

// Variable is the setting's environment variable.
func (s *Setting) Variable() string {
	return "CHRONIK_" + strings.ToUpper(strings.ReplaceAll(s.Key, ".", "_"))
}

// under is the default under `chronik run`.
func under(value string) *string { return &value }

// defaultOf is the setting's default where c's process runs.
func (c *Config) defaultOf(s *Setting) string {
	if s.Run != nil && c.Clustered() {
		return *s.Run
	}
	return s.Default
}

// Settings returns the table, each row showing c's value, in the order in which
// it is documented.
func (c *Config) Settings() []*Setting { return c.settings() }

func (c *Config) settings() []*Setting {
	var all []*Setting
	for _, group := range [][]*Setting{
		c.processSettings(), c.etcdSettings(), c.kafkaSettings(), c.brokerSettings(), c.objectStoreSettings(),
		c.compactorSettings(), c.querySettings(), c.topicSettings(), c.embeddingSettings(), c.milvusSettings(),
	} {
		all = append(all, group...)
	}
	return all
}

func (c *Config) processSettings() []*Setting {
	return []*Setting{
		{Key: "cluster", Default: "chronik", Value: checkedText{&c.Cluster, "letters, digits, - and _", clusterName},
			Doc: "Name of the cluster: the root of its keys in the metadata store and of its objects in the bucket."},
		{Key: "data_dir", Default: "./data", Value: textValue{&c.DataDir},
			Doc: "Folder for everything local: the write-ahead log, caches, and in `chronik dev` the metadata and the bucket. One process's alone."},
		{Key: "memory.limit", Default: "0B", Value: bytesValue{&c.Memory.Limit, 0},
			Doc: "Memory of the process, without that of SQL (`query.memory_bytes_max`), from which on it collects garbage harder instead of growing. 0B: as GOMEMLIMIT says, else nine tenths of the container's limit, if it has one. With a limit below 8GiB, the defaults of the other budgets of memory, and of `segment.bytes`, are less in proportion; `chronik config print` shows them."},
		{Key: "log.level", Default: "info", Value: choiceValue{&c.Log.Level, []string{"debug", "info", "warn", "error"}},
			Doc: "Least severity that is logged, to standard error."},
		{Key: "log.format", Default: "text", Value: choiceValue{&c.Log.Format, []string{"text", "json"}},
			Doc: "Form of log lines."},
		{Key: "admin.api_key", Default: "", Value: secretValue{&c.Admin.APIKey},
			Doc: "What `/admin/*` over HTTP asks for as `X-API-Key`; empty asks for nothing."},
		{Key: "drain.delay", Default: "0s", Run: under("5s"), Value: durationValue{&c.Drain.Delay, 0},
			Doc: "How long a process that is asked to stop goes on as before while /health/ready already answers 503, so that load balancers send nothing new when it closes."},
		{Key: "http.bind", Default: "localhost", Run: under(""), Aliases: []string{"CHRONIK_UNIFIED_API_BIND"}, Value: textValue{&c.HTTP.Bind},
			Doc: "Host or address that HTTP is served on. `localhost` is both 127.0.0.1 and [::1]; empty is every address."},
		{Key: "http.port", Default: "6092", Aliases: []string{"CHRONIK_UNIFIED_API_PORT"}, Value: intValue{&c.HTTP.Port, 0, math.MaxUint16},
			Doc: "Port that HTTP is served on; 0 picks a free one."},
	}
}

func (c *Config) etcdSettings() []*Setting {
	return []*Setting{
		{Key: "etcd.endpoints", Default: "", Value: listValue{&c.Etcd.Endpoints},
			Doc: "The metadata store of a cluster: an etcd, 3.5 or newer, as the client URLs of all its members (`http://etcd-0:2379,http://etcd-1:2379`). `chronik dev` brings its own and takes none."},
		{Key: "etcd.username", Default: "", Value: textValue{&c.Etcd.Username},
			Doc: "User of an etcd with authentication. It needs to read and write the keys under `/chronik/<cluster>/` and `/chronik-groups/<cluster>/`, and to read the key `/chronik`."},
		{Key: "etcd.password", Default: "", Value: secretValue{&c.Etcd.Password},
			Doc: "Its password."},
		{Key: "etcd.ca_file", Default: "", Value: textValue{&c.Etcd.CAFile},
			Doc: "PEM file of the certificate authority of etcd's servers; empty means the system's. Needs https endpoints, as all files below."},
		{Key: "etcd.cert_file", Default: "", Value: textValue{&c.Etcd.CertFile},
			Doc: "PEM file of the certificate that is shown to etcd where that asks for one. Read again at each connection."},
		{Key: "etcd.key_file", Default: "", Value: textValue{&c.Etcd.KeyFile},
			Doc: "PEM file of its key."},
		{Key: "etcd.server_name", Default: "", Value: textValue{&c.Etcd.ServerName},
			Doc: "Name that the servers' certificates must be for, when that is not the endpoint's host."},
		{Key: "etcd.dial_timeout", Default: "5s", Value: durationValue{&c.Etcd.DialTimeout, 100 * time.Millisecond},
			Doc: "Time that a connection to a member may take; then another is tried."},
	}
}

func (c *Config) kafkaSettings() []*Setting {
	return []*Setting{
		{Key: "kafka.listen", Default: "PLAINTEXT://localhost:9092", Run: under("PLAINTEXT://:9092"), Value: listenersValue{&c.Kafka.Listen},
			Doc: "Where Kafka clients connect. `localhost` is both 127.0.0.1 and [::1]; port 0 picks a free one."},
		{Key: "kafka.advertised", Default: "", Aliases: []string{"CHRONIK_ADVERTISED_ADDR"}, Value: advertisedValue{&c.Kafka.Advertised},
			Doc: "What clients are told to connect to, by listener; a host alone keeps the port. Needed when listening on a wildcard address."},
		{Key: "kafka.advertise", Default: "direct", Value: choiceValue{&c.Kafka.Advertise, []string{"direct", "shared"}},
			Doc: "What clients see: every broker at its own address (`direct`), or one node for everything (`shared`), which is a load balancer in front of all brokers: its address is `kafka.advertised`, the same for all. Each broker then asks the others for what it does not own, on their `kafka.internal.listen`."},
		{Key: "kafka.forward.connections_max", Default: "20000", Value: intValue{&c.Kafka.Forward.ConnectionsMax, 1, math.MaxInt},
			Doc: "Connections for that which are open at once; each connection of a client needs up to two for each other broker. Past it, those that are idle are closed, and requests get errors that clients retry."},
		{Key: "kafka.forward.idle_timeout", Default: "1m", Value: durationValue{&c.Kafka.Forward.IdleTimeout, time.Second},
			Doc: "Time without a request after which one of them is closed."},
		{Key: "kafka.internal.listen", Default: "", Run: under(":9094"), Value: addressValue{to: &c.Kafka.Internal.Listen, port: true},
			Doc: "Where the other processes of the cluster reach this broker, at host:port or :port; empty is nowhere. It is for them alone: no client's quota or limit holds there. `chronik dev` opens a free port of this machine for its own query role when it is told `kafka.advertised`."},
		{Key: "kafka.internal.advertised", Default: "", Value: addressValue{to: &c.Kafka.Internal.Advertised},
			Doc: "What they connect to; a host alone keeps the port. Empty is the host of `kafka.internal.listen`, or for a wildcard address this machine's name."},
		{Key: "kafka.internal.connections_max", Default: "20000", Value: intValue{&c.Kafka.Internal.ConnectionsMax, 1, math.MaxInt},
			Doc: "Connections there that are open at once; further ones are closed at once."},
		{Key: "kafka.proxy_protocol", Default: "false", Value: boolValue{&c.Kafka.ProxyProtocol},
			Doc: "Whether a connection of a client may begin with the header of the PROXY protocol, version 1 or 2, by which a load balancer says whose connection it is: limits, quotas, groups and logs then see the client's address."},
		{Key: "kafka.proxy_trusted", Default: "", Value: prefixesValue{&c.Kafka.ProxyTrusted},
			Doc: "Addresses of load balancers that are believed, such as 10.0.0.0/8,192.0.2.7; a connection from elsewhere that begins so is closed. Empty is everybody who can connect."},
		{Key: "kafka.connections_max", Default: "10000", Value: intValue{&c.Kafka.ConnectionsMax, 1, math.MaxInt},
			Doc: "Connections open at once; further ones are closed at once."},
		{Key: "kafka.connections_per_ip_max", Default: "0", Value: intValue{&c.Kafka.ConnectionsIP, 0, math.MaxInt},
			Doc: "The same of one address; 0 is as many as of all. Behind a load balancer that shows its own address, all clients have one."},
		{Key: "kafka.connection_rate_max", Default: "0", Value: intValue{&c.Kafka.ConnectionRate, 0, math.MaxInt32},
			Doc: "Connections accepted per second, after as many at once; further ones wait. 0 is as many as come."},
		{Key: "kafka.pipeline_max", Default: "64", Value: intValue{&c.Kafka.PipelineMax, 1, 10_000},
			Doc: "Requests of one connection that may be under way; then it is not read until one is answered."},
		{Key: "kafka.requests_max", Default: "10000", Value: intValue{&c.Kafka.RequestsMax, 1, 10_000_000},
			Doc: "Requests of all connections that may be under way, the first of each not counted; then connections with one under way are not read."},
		{Key: "kafka.connection_bytes_max", Default: "128MiB", Value: bytesValue{&c.Kafka.ConnBytes, 1 << 10},
			Doc: "Memory for the requests of one connection that are under way; a single one may be larger."},
		{Key: "kafka.frame_bytes_max", Default: "512MiB", Value: bytesValue{&c.Kafka.FrameBytes, 1 << 20},
			Doc: "Memory for all requests under way; then connections wait with reading. A request that it could never hold is refused at once: it takes itself and, while it arrives, up to about as much again."},
		{Key: "kafka.answer_bytes_max", Default: "512MiB", Value: bytesValue{&c.Kafka.AnswerBytes, 1 << 20},
			Doc: "Memory for all answers that clients have not taken yet; then fetch answers get smaller, and those without room for one batch, and other large ones, wait."},
		{Key: "kafka.cold_bytes_max", Default: "256MiB", Value: bytesValue{&c.Kafka.ColdBytes, 1 << 20},
			Doc: "Memory for all reads from segments and log files under way; then fetches wait for one another."},
		{Key: "kafka.frame_timeout", Default: "1m", Value: durationValue{&c.Kafka.FrameTimeout, time.Second},
			Doc: "Time that a request may take from its first byte to its last."},
		{Key: "kafka.write_timeout", Default: "1m", Value: durationValue{&c.Kafka.WriteTimeout, time.Second},
			Doc: "Time that a client has to take an answer, or each 256 KiB of a large one; then the connection is closed."},
		{Key: "kafka.stall_timeout", Default: "1s", Value: durationValue{&c.Kafka.StallTimeout, 10 * time.Millisecond},
			Doc: "Time that a client has for a piece of a request, or of an answer, while others wait for the memory that it has; then the slowest are closed."},
		{Key: "kafka.idle_timeout", Default: "10m", Value: durationValue{&c.Kafka.IdleTimeout, time.Second},
			Doc: "Time without a request or an answer after which a connection is closed."},
		{Key: "kafka.request_bytes_max", Default: "100MiB", Value: bytesValue{&c.Kafka.RequestBytes, 1 << 10},
			Doc: "Largest produce request; a connection that announces more is closed."},
		{Key: "kafka.fetch_bytes_max", Default: "55MiB", Value: bytesValue{&c.Kafka.FetchBytes, 1 << 10},
			Doc: "Most bytes of a fetch answer, whatever the client asks for; a first batch may be larger."},
		{Key: "kafka.describe_partitions_max", Default: "2000", Value: intValue{&c.Kafka.DescribePartitions, 1, 1_000_000},
			Doc: "Most partitions in one answer of DescribeTopicPartitions; it says where the next one goes on."},
		{Key: "kafka.fetch_sessions_max", Default: "1000", Value: intValue{&c.Kafka.FetchSessions, 0, 1_000_000},
			Doc: "Fetch sessions that are remembered (KIP-227); consumers beyond that name all their partitions in each request. 0: none."},
		{Key: "kafka.fetch_session_partitions_max", Default: "200000", Value: intValue{&c.Kafka.FetchSessionPartitions, 1, 100_000_000},
			Doc: "Partitions in all of them, of some 200 bytes each."},
	}
}

func (c *Config) brokerSettings() []*Setting {
	return []*Setting{
		{Key: "quota.burst", Default: "10s", Value: durationValue{&c.Quota.Burst, 10 * time.Millisecond},
			Doc: "How much of its rate a client with a quota may use at once, as the time in which that gathers. Quotas are set with Kafka's tools."},
		{Key: "broker.id", Default: "1", Run: under(""), Value: checkedText{&c.Broker.ID, "integer ≥ 0 \\| auto", brokerID},
			Doc: "The broker's node id: unique in the cluster, the same after a restart. `auto` takes the number at the end of the host's name, as StatefulSets give it (`chronik-broker-2`)."},
		{Key: "broker.rack", Default: "", Value: textValue{&c.Broker.Rack},
			Doc: "Rack or zone of the broker, told to clients. A consumer with the same `client.rack` reads older records from it where Metadata shows it as a replica (KIP-392)."},
		{Key: "broker.lease", Default: "10s", Value: durationValue{&c.Broker.Lease, time.Second},
			Doc: "Time without contact to the metadata store after which a broker counts as gone, and itself stops answering."},
		{Key: "broker.stop_timeout", Default: "30s", Value: durationValue{&c.Broker.StopTimeout, time.Second},
			Doc: "Time that a stopping broker has for its last flush. What it does not manage stays in the write-ahead log."},
		{Key: "takeover.grace", Default: "1m", Value: durationValue{&c.Takeover.Grace, 0},
			Doc: "How long the partitions of a broker that is gone wait for it to come back with its disk, where that may hold what was acknowledged (`durability=wal`); then others take them over, and what it still brings back is appended as new records. 0: at once. Partitions with `durability=object` never wait."},
		{Key: "salvage.after", Default: "2m", Value: durationValue{&c.Salvage.After, 0},
			Doc: "How long what a broker brings back after a takeover waits, so that idempotent producers go first, which may be sending it again: from the takeover on, and from when one was told of a gap. As long as the producers' `delivery.timeout.ms`, or longer. 0: it does not wait."},
		{Key: "rebalance.delay", Default: "5s", Value: durationValue{&c.Rebalance.Delay, 0},
			Doc: "How long the brokers must have been the same before partitions are moved to even out their load. One that only restarts moves nothing twice; one that comes back again within ten minutes is waited for twice as long each time, up to a minute, also before it coordinates groups."},
		{Key: "group.initial_rebalance_delay", Default: "100ms", Run: under("3s"), Value: durationValue{&c.Group.InitialDelay, 0},
			Doc: "How long the first member of an empty consumer group waits for others to join. The default under `chronik run` is Kafka's."},
		{Key: "group.session_timeout_min", Default: "6s", Value: durationValue{&c.Group.SessionTimeoutMin, time.Millisecond},
			Doc: "Shortest session timeout that a member may ask for."},
		{Key: "group.session_timeout_max", Default: "30m", Value: durationValue{&c.Group.SessionTimeoutMax, time.Second},
			Doc: "Longest session timeout that a member may ask for."},
		{Key: "group.members_max", Default: "10000", Value: intValue{&c.Group.MembersMax, 1, 1_000_000},
			Doc: "Most members of one group."},
		{Key: "group.consumer_session_timeout", Default: "45s", Value: durationValue{&c.Group.ConsumerSessionTimeout, time.Second},
			Doc: "How long a member of the consumer protocol (KIP-848), which does not say one, may be silent."},
		{Key: "group.consumer_heartbeat_interval", Default: "5s", Value: durationValue{&c.Group.ConsumerHeartbeatInterval, 100 * time.Millisecond},
			Doc: "How often it is told to send heartbeats: each brings it one step nearer to what it is to read."},
		{Key: "group.consumer_migration", Default: "bidirectional", Value: choiceValue{&c.Group.ConsumerMigration, []string{"bidirectional", "upgrade", "downgrade", "disabled"}},
			Doc: "Whether a group with members may change from the classic to the consumer protocol (`upgrade`), from that to the classic (`downgrade`), both, or none."},
		{Key: "group.offsets_retention", Default: "168h", Value: durationValue{&c.Group.OffsetsRetention, time.Second},
			Doc: "How long committed offsets are kept after their group became empty, or, of topics that nobody in it reads and of groups that never had members, after the commit."},
		{Key: "group.offsets_retention_check", Default: "10m", Value: durationValue{&c.Group.OffsetsRetentionCheck, time.Second},
			Doc: "How often offsets are looked for whose time is over."},
		{Key: "group.offset_metadata_bytes_max", Default: "4096", Value: intValue{&c.Group.OffsetMetadataMax, 0, 65_536},
			Doc: "Longest text that a client may commit with an offset."},
		{Key: "wal.file_bytes", Default: "64MiB", Value: bytesValue{&c.WAL.FileBytes, 1 << 20},
			Doc: "Size of a file of the write-ahead log. Files are used again."},
		{Key: "wal.bytes_max", Default: "2GiB", Value: bytesValue{&c.WAL.Bytes, 64 << 20},
			Doc: "Bytes that may wait in the write-ahead log for their commit, while the bucket is slow or away; past it produce waits, then gets retriable errors."},
		{Key: "wal.budget_wait", Default: "2s", Value: durationValue{&c.WAL.BudgetWait, time.Millisecond},
			Doc: "How long it waits."},
		{Key: "wal.waiting_bytes_max", Default: "64MiB", Value: bytesValue{&c.WAL.WaitingBytes, 1 << 20},
			Doc: "Memory for produce requests that wait so; what comes beyond it is refused, after the same time."},
		{Key: "producer.expiry", Default: "24h", Value: durationValue{&c.Producer.Expiry, time.Second},
			Doc: "How long a partition remembers an idempotent producer that writes nothing: Kafka's `producer.id.expiration.ms`. The same for brokers and compactors."},
		{Key: "tail.bytes_max", Default: "128MiB", Value: bytesValue{&c.Tail.Bytes, 1 << 20},
			Doc: "Memory for the newest batches, from which most fetches are served."},
		{Key: "segment.bytes", Default: "64MiB", Value: bytesValue{&c.Segment.Bytes, 1 << 20},
			Doc: "Size at which the log is sealed into a segment and put into the bucket."},
		{Key: "segment.age", Default: "5s", Value: durationValue{&c.Segment.Age, 10 * time.Millisecond},
			Doc: "Age at which it is sealed though smaller."},
		{Key: "segment.age_urgent", Default: "100ms", Value: durationValue{&c.Segment.AgeUrgent, time.Millisecond},
			Doc: "The same while somebody waits for the commit: an acks=all producer of a topic with durability=object, or its reader."},
		{Key: "segment.age_embedded", Default: "1s", Value: durationValue{&c.Segment.AgeEmbedded, 10 * time.Millisecond},
			Doc: "The same where it has records of topics with vectors, which are embedded once it is committed. It makes more and smaller objects."},
		{Key: "segment.uploads_max", Default: "3", Value: intValue{&c.Segment.Uploads, 1, 64},
			Doc: "Segments uploaded at once."},
	}
}

func (c *Config) objectStoreSettings() []*Setting {
	return []*Setting{
		{Key: "objstore.provider", Default: "local", Aliases: []string{"OBJECT_STORE_BACKEND"}, Value: choiceValue{&c.ObjectStore.Provider, []string{"local", "s3", "aws"}},
			Doc: "Kind of bucket: a folder (`local`), a store that speaks S3 (`s3`), or Amazon S3 through Amazon's own library (`aws`): with profiles, SSO, web identity (IRSA), pod identity and roles."},
		{Key: "objstore.dir", Default: "", Value: textValue{&c.ObjectStore.Dir},
			Doc: "Folder of a `local` bucket; empty means `bucket` in `data_dir`. Under `chronik run` it has to be named: a folder that all nodes mount."},
		{Key: "objstore.bucket", Default: "", Aliases: []string{"S3_BUCKET"}, Value: textValue{&c.ObjectStore.Bucket},
			Doc: "Name of the S3 bucket."},
		{Key: "objstore.region", Default: "", Aliases: []string{"S3_REGION"}, Value: textValue{&c.ObjectStore.Region},
			Doc: "S3 region. Empty means us-east-1, or with `aws` what AWS_REGION or the profile says first."},
		{Key: "objstore.endpoint", Default: "", Aliases: []string{"S3_ENDPOINT"}, Value: textValue{&c.ObjectStore.Endpoint},
			Doc: "URL of the S3 store, such as http://127.0.0.1:9000; empty means AWS."},
		{Key: "objstore.access_key", Default: "", Aliases: []string{"AWS_ACCESS_KEY_ID"}, Value: textValue{&c.ObjectStore.AccessKey},
			Doc: "Access key id. Without keys, `s3` takes those of a MinIO as it comes for an endpoint on this machine, else the AWS credentials file or the machine's role; `aws` takes what the AWS library finds."},
		{Key: "objstore.secret_key", Default: "", Aliases: []string{"AWS_SECRET_ACCESS_KEY"}, Value: secretValue{&c.ObjectStore.SecretKey},
			Doc: "Secret access key."},
		{Key: "objstore.session_token", Default: "", Aliases: []string{"AWS_SESSION_TOKEN"}, Value: secretValue{&c.ObjectStore.SessionToken},
			Doc: "Token of temporary keys."},
		{Key: "objstore.path_style", Default: "false", Value: boolValue{&c.ObjectStore.PathStyle},
			Doc: "Whether URLs name the bucket in the path even where the host could."},
		{Key: "objstore.ca_file", Default: "", Value: textValue{&c.ObjectStore.CAFile},
			Doc: "PEM file of a certificate authority to trust besides the system's."},
		{Key: "objstore.prefix", Default: "", Value: textValue{&c.ObjectStore.Prefix},
			Doc: "Put in front of every object's name, to share a bucket."},
		{Key: "objstore.create_bucket", Default: "true", Value: boolValue{&c.ObjectStore.CreateBucket},
			Doc: "Whether a missing S3 bucket is created at start."},
		{Key: "objstore.faults", Default: "", Value: checkedText{&c.ObjectStore.Faults, "plan", faultPlan},
			Doc: "For tests only: what the bucket is made to do wrong, such as `put * fail-before p=0.05; put * fail-after p=0.05`. See objstore/faults."},
		{Key: "cache.memory_bytes_max", Default: "256MiB", Value: bytesValue{&c.Cache.MemoryBytes, 0},
			Doc: "Memory for pieces of objects that were read back for fetches of older records."},
		{Key: "cache.disk_bytes_max", Default: "4GiB", Value: bytesValue{&c.Cache.DiskBytes, 0},
			Doc: "Disk for the same, in `data_dir`. Not used with a `local` bucket."},
	}
}

func (c *Config) compactorSettings() []*Setting {
	return []*Setting{
		{Key: "compactor.first_bytes", Default: "8MiB", Value: bytesValue{&c.Compactor.FirstBytes, 1},
			Doc: "A partition's new records are rewritten into log and Parquet files once there is this much."},
		{Key: "compactor.first_age", Default: "1m", Value: durationValue{&c.Compactor.FirstAge, time.Millisecond},
			Doc: "The same once the oldest of them has this age. Queries do not wait for it: they read the rest from the log."},
		{Key: "compactor.plain_age", Default: "6h", Value: durationValue{&c.Compactor.PlainAge, time.Millisecond},
			Doc: "The same for topics that are no tables. Until then their records wait in segments, which are merged: log files of their own for many quiet partitions would cost more than what is in them."},
		{Key: "compactor.pass_bytes_max", Default: "64MiB", Value: bytesValue{&c.Compactor.PassBytes, 1 << 20},
			Doc: "Most bytes that one pass over a partition takes in."},
		{Key: "compactor.file_bytes_max", Default: "128MiB", Value: bytesValue{&c.Compactor.FileBytes, 1 << 20},
			Doc: "Size up to which files are merged."},
		{Key: "compactor.merge_files", Default: "8", Value: intValue{&c.Compactor.MergeFiles, 2, 1000},
			Doc: "Neighbouring files of like size that are merged into one."},
		{Key: "compactor.embed_age", Default: "1s", Value: durationValue{&c.Compactor.EmbedAge, time.Millisecond},
			Doc: "Age of a committed record at which it is embedded, in topics with vectors; also once there is 1 MiB. Lower is sooner found, in more and smaller requests and shards."},
		{Key: "compactor.shard_bytes_max", Default: "512MiB", Value: bytesValue{&c.Compactor.ShardBytes, 1 << 20},
			Doc: "Size up to which shards of vectors are merged. A merge takes up to twice as much memory; fewer and larger shards are searched faster."},
		{Key: "compactor.clean_bytes_max", Default: "128MiB", Value: bytesValue{&c.Compactor.CleanBytes, 1 << 20},
			Doc: "Memory for the keys that compaction by key gathers, 24 bytes each at best. What does not fit is cleaned in further rounds."},
		{Key: "compactor.workers", Default: "0", Value: intValue{&c.Compactor.Workers, 0, 1024},
			Doc: "Partitions rewritten at once; 0 is half the cores."},
		{Key: "compactor.look_every", Default: "1s", Value: durationValue{&c.Compactor.LookEvery, time.Millisecond},
			Doc: "Time for which commits are gathered before what is due is looked for."},
		{Key: "compactor.deletion_grace", Default: "10m", Value: durationValue{&c.Compactor.DeletionGrace, time.Millisecond},
			Doc: "Time between an object losing its last use, or its topic being deleted, and its deletion: longer than any fetch or query that may still read it."},
		{Key: "compactor.orphan_age", Default: "24h", Value: durationValue{&c.Compactor.OrphanAge, time.Hour},
			Doc: "Age at which an object that no metadata names is swept."},
		{Key: "compactor.orphan_every", Default: "6h", Value: durationValue{&c.Compactor.OrphanEvery, time.Minute},
			Doc: "Time between two sweeps."},
		{Key: "iceberg.location", Default: "", Value: textValue{&c.Iceberg.Location},
			Doc: "Where readers of Iceberg tables find the bucket, such as `s3://bucket/prefix`; set alike on all compactors. Empty is as `objstore` says: `s3://<bucket>/<prefix>`, or `file://<folder>`. Altering it makes the tables anew, without their old snapshots."},
		{Key: "iceberg.commit_every", Default: "1m", Value: durationValue{&c.Iceberg.Every, time.Millisecond},
			Doc: "Time between two commits of one Iceberg table."},
		{Key: "iceberg.snapshot_retention", Default: "3h", Value: durationValue{&c.Iceberg.Retention, time.Millisecond},
			Doc: "How long a snapshot of an Iceberg table, and the files that only it has, are kept after another took its place."},
	}
}

func (c *Config) querySettings() []*Setting {
	return []*Setting{
		{Key: "query.timeout_secs", Default: "30", Value: intValue{&c.Query.TimeoutSeconds, 1, 86400},
			Doc: "Time that a query may take when its request does not say."},
		{Key: "query.concurrent_max", Default: "4", Value: intValue{&c.Query.Concurrent, 1, 1024},
			Doc: "Queries that run at once; further ones wait."},
		{Key: "query.waiting_max", Default: "256", Value: intValue{&c.Query.Waiting, 1, 1 << 20},
			Doc: "Queries that wait until others have ended; further ones are answered `UNAVAILABLE`."},
		{Key: "query.wait_max", Default: "10s", Value: durationValue{&c.Query.Wait, time.Millisecond},
			Doc: "Time for which one waits before it is answered so, too."},
		{Key: "query.threads", Default: "0", Value: intValue{&c.Query.Threads, 0, 1024},
			Doc: "Threads of one query; 0 is one per core."},
		{Key: "query.memory_bytes_max", Default: "1GiB", Value: bytesValue{&c.Query.MemoryBytes, 64 << 20},
			Doc: "Memory of one query. What does not fit goes to disk, in `data_dir`. In a container the default is less where half of its memory, shared by `query.concurrent_max`, is less; and never below 64MiB."},
		{Key: "query.cache_bytes_max", Default: "8GiB", Value: bytesValue{&c.Query.CacheBytes, 1 << 20},
			Doc: "Disk for copies of Parquet files and of full-text splits. They can be deleted at any moment."},
		{Key: "query.tail_bytes_max", Default: "1GiB", Value: bytesValue{&c.Query.TailBytes, 1 << 20},
			Doc: "Disk and memory for records that are not in Parquet files or splits of the bucket yet. Past it the topic that was asked for the longest ago gives way."},
		{Key: "query.write_bytes_max", Default: "128MiB", Value: bytesValue{&c.Query.WriteBytes, 1 << 20},
			Doc: "Memory for documents that are written over HTTP and not acknowledged yet. Beyond, writes are answered 429, and clients try again."},
		{Key: "query.results_bytes_max", Default: "64MiB", Value: bytesValue{&c.Query.ResultsBytes, 0},
			Doc: "Memory for answers that are kept. One is given again to the same question over the same records, and never to another; 0B keeps none."},
		{Key: "query.results_answer_bytes_max", Default: "1MiB", Value: bytesValue{&c.Query.ResultsAnswerBytes, 1},
			Doc: "Largest answer that is kept."},
		{Key: "query.results_age", Default: "5m", Value: durationValue{&c.Query.ResultsAge, time.Second},
			Doc: "Time after which one is forgotten, whether it is asked for or not."},
		{Key: "query.stop_timeout", Default: "10s", Value: durationValue{&c.Query.StopTimeout, 0},
			Doc: "Time that a stopping query node gives the queries that it runs, and clients to read their answers. Then they end with `UNAVAILABLE`."},
		{Key: "query.affinity", Default: "topic", Value: choiceValue{&c.Query.Affinity, []string{"topic", "none"}},
			Doc: "Whether a query node hands a query on to the node that answers all about its topic, and so has its files and newest records at hand (`topic`), as long as that one lives and has time; or answers everything itself (`none`)."},
		{Key: "query.advertised", Default: "", Value: addressValue{to: &c.Query.Advertised},
			Doc: "Where the other query nodes reach this one; a host alone keeps the port. Empty is `http.bind`, or for a wildcard address this machine's name."},
	}
}

func (c *Config) topicSettings() []*Setting {
	return []*Setting{
		{Key: "topic.auto_create", Default: "true", Value: boolValue{&c.Topic.AutoCreate},
			Doc: "Whether a client that asks for an unknown topic creates it."},
		{Key: "topic.partitions", Default: "1", Value: intValue{&c.Topic.Partitions, 1, 100000},
			Doc: "Partitions of a topic that is created without a number."},
		{Key: "topic.partitions_max", Default: "10000", Value: intValue{&c.Topic.PartitionsMax, 1, 1_000_000},
			Doc: "Most partitions of one topic."},
		{Key: "durability.default", Default: "wal", Run: under("object"), Topic: "durability", Value: choiceValue{&c.Durability.Default, []string{"wal", "object"}},
			Doc: "What acks=all waits for in topics that do not say: the sync of the local log, or the commit of the segment in the bucket. In `chronik dev` both are the same disk."},
		{Key: "default.columnar", Default: "false", Topic: "columnar.enabled", Value: boolValue{&c.Default.Columnar},
			Doc: "Whether topics that do not say are SQL tables."},
		{Key: "columnar.format", Default: "parquet", Topic: "columnar.format", Value: choiceValue{&c.Columnar.Format, []string{"parquet", "arrow"}},
			Doc: "Format of their files."},
		{Key: "columnar.compression", Default: "zstd", Topic: "columnar.compression", Value: choiceValue{&c.Columnar.Compression, []string{"zstd", "snappy", "lz4", "gzip", "none"}},
			Doc: "Compression of their files."},
		{Key: "default.searchable", Default: "false", Topic: "searchable", Value: boolValue{&c.Default.Searchable},
			Doc: "Whether topics that do not say have a full-text index."},
		{Key: "default.vector_enabled", Default: "false", Topic: "vector.enabled", Value: boolValue{&c.Default.VectorEnabled},
			Doc: "Whether topics that do not say have a vector index; embeddings then come from `embedding.provider`."},
	}
}
