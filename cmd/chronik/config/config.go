// Package config is Chronik's configuration: one table of settings, each with
// a key, an environment variable, a default, bounds and a sentence, and the
// loader that reads a YAML file, then the environment, then flags.
//
// It promises that every value in force can be traced to where it was given,
// that an unknown key or a bad value is refused and not passed over, and that
// docs/configuration.md says what the table says. It opens nothing and knows
// none of the roles: package cli hands the values down as the roles' own types.
package config

import (
	"net/netip"
	"path/filepath"
	"time"

	"github.com/chronik-stream/chronik/internal/topicconfig"
)

// Config holds all values of a process. Load makes it.
type Config struct {
	Cluster string
	DataDir string

	Log struct {
		Level  string // debug, info, warn, error
		Format string // text, json
	}
	Kafka struct {
		Listen     []Listener
		Advertised []Listener // Port 0: the one listened on
		Internal   struct {
			Listen         *Listener // nil: there is none
			Advertised     *Listener // nil: this machine's name, or the host listened on; port 0: the one listened on
			ConnectionsMax int
		}
		ProxyProtocol          bool
		ProxyTrusted           []netip.Prefix // empty: everybody
		ConnectionsMax         int
		PipelineMax            int
		FrameBytes             Bytes
		FrameTimeout           time.Duration
		IdleTimeout            time.Duration
		RequestBytes           Bytes
		FetchBytes             Bytes
		FetchSessions          int
		DescribePartitions     int
		FetchSessionPartitions int
		ConnectionsIP          int
		ConnectionRate         int
		RequestsMax            int
		ConnBytes              Bytes
		WriteTimeout           time.Duration
		StallTimeout           time.Duration
		AnswerBytes            Bytes
		ColdBytes              Bytes
	}
	Quota struct {
		Burst time.Duration
	}
	HTTP struct {
		Bind string
		Port int
	}
	Broker struct {
		ID          int
		Rack        string
		Lease       time.Duration
		StopTimeout time.Duration
	}
	Group struct {
		InitialDelay              time.Duration
		SessionTimeoutMin         time.Duration
		SessionTimeoutMax         time.Duration
		MembersMax                int
		ConsumerSessionTimeout    time.Duration
		ConsumerHeartbeatInterval time.Duration
		ConsumerMigration         string

		OffsetsRetention      time.Duration
		OffsetsRetentionCheck time.Duration
		OffsetMetadataMax     int
	}
	WAL struct {
		FileBytes  Bytes
		Bytes      Bytes
		BudgetWait time.Duration
	}
	Tail struct {
		Bytes Bytes
	}
	Producer struct {
		Expiry time.Duration
	}
	Segment struct {
		Bytes     Bytes
		Age       time.Duration
		AgeUrgent time.Duration
		Uploads   int
	}
	ObjectStore struct {
		Provider     string // local, s3, aws
		Dir          string
		Bucket       string
		Region       string
		Endpoint     string
		AccessKey    string
		SecretKey    Secret
		SessionToken Secret
		PathStyle    bool
		CAFile       string
		Prefix       string
		CreateBucket bool
		Faults       string // a plan of objstore/faults
	}
	Cache struct {
		MemoryBytes Bytes
		DiskBytes   Bytes
	}
	Compactor struct {
		FirstBytes    Bytes
		FirstAge      time.Duration
		PlainAge      time.Duration
		PassBytes     Bytes
		FileBytes     Bytes
		MergeFiles    int
		Workers       int
		LookEvery     time.Duration
		DeletionGrace time.Duration
		OrphanAge     time.Duration
		OrphanEvery   time.Duration
	}
	Query struct {
		TimeoutSeconds int
		Concurrent     int
		Threads        int
		MemoryBytes    Bytes
		CacheBytes     Bytes
		TailBytes      Bytes
	}
	Topic struct {
		AutoCreate    bool
		Partitions    int
		PartitionsMax int
	}

	// Default, Columnar, Embedding and Durability are the cluster's defaults of
	// topic settings. TopicDefaults has them as topics see them.
	Durability struct{ Default string }
	Default    struct{ Searchable, Columnar, VectorEnabled bool }
	Columnar   struct{ Format, Compression string }
	Embedding  struct{ Provider, Endpoint string }

	// Warnings are for the log: settings that have no effect in this version.
	Warnings []string

	sources map[string]Source
}

// Source says where a setting's value was given.
type Source struct {
	Name    string   // "default", "--kafka", "CHRONIK_KAFKA_LISTEN", "chronik.yaml:7"
	Instead []string // weaker places whose value did not count
}

const sourceDefault = "default"

func (s Source) overridden() []string {
	if s.Name == "" {
		return nil
	}
	return append([]string{s.Name}, s.Instead...)
}

// Source returns where the value of a setting comes from.
func (c *Config) Source(key string) Source {
	if s, ok := c.sources[key]; ok {
		return s
	}
	return Source{Name: sourceDefault}
}

// Default returns the configuration of a `chronik dev` that was told nothing.
func Default() *Config {
	c := &Config{}
	for _, s := range c.settings() {
		if err := s.Value.Set(s.Default); err != nil {
			panic("config: default of " + s.Key + ": " + err.Error()) // a mistake in the table; every default is tested
		}
	}
	return c
}

// Path is a place in the data folder.
func (c *Config) Path(name string) string { return filepath.Join(c.DataDir, name) }

// TopicDefaults are the cluster's defaults of topic settings: what was given,
// and the durability, whose default depends on the kind of deployment.
func (c *Config) TopicDefaults() topicconfig.Defaults {
	defaults := topicconfig.Defaults{"durability": c.Durability.Default}
	for _, s := range c.settings() {
		if s.Topic != "" && c.Source(s.Key).Name != sourceDefault {
			defaults[s.Topic] = s.Value.String()
		}
	}
	return defaults
}
