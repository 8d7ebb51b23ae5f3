package config

import (
	"errors"
	"math"
	"time"
)

// Milvus is where the vectors of topics with vector.index.backend=milvus go.
type Milvus struct {
	Address            string
	Database           string
	Username           string
	Password, Token    Secret
	TLS                bool
	CAFile, ServerName string
	CertFile, KeyFile  string
	RequestTimeout     time.Duration
	Upserts            int
}

func (c *Config) milvusSettings() []*Setting {
	m := &c.Milvus
	return []*Setting{
		{Key: "milvus.address", Default: "", Value: textValue{&m.Address},
			Doc: "Host and port of a Milvus, 2.3 or newer, for topics with `vector.index.backend=milvus`. Empty: there is none; their vectors are made and kept, and query nodes compare them one by one."},
		{Key: "milvus.database", Default: "", Value: textValue{&m.Database},
			Doc: "Its database; empty is its default one. Clusters may share it: the names of collections have the cluster's in them."},
		{Key: "milvus.username", Default: "", Value: textValue{&m.Username},
			Doc: "User of a Milvus with authentication. It creates, fills, searches, lists and drops collections."},
		{Key: "milvus.password", Default: "", Value: secretValue{&m.Password},
			Doc: "Its password."},
		{Key: "milvus.token", Default: "", Value: secretValue{&m.Token},
			Doc: "API key instead of a user, as managed services give it."},
		{Key: "milvus.tls", Default: "false", Value: boolValue{&m.TLS},
			Doc: "Whether connections to it are encrypted. The settings below need it."},
		{Key: "milvus.ca_file", Default: "", Value: textValue{&m.CAFile},
			Doc: "PEM file of the certificate authority of its certificate; empty means the system's."},
		{Key: "milvus.cert_file", Default: "", Value: textValue{&m.CertFile},
			Doc: "PEM file of the certificate that it is shown, where it asks for one. Read again at each connection."},
		{Key: "milvus.key_file", Default: "", Value: textValue{&m.KeyFile},
			Doc: "PEM file of its key."},
		{Key: "milvus.server_name", Default: "", Value: textValue{&m.ServerName},
			Doc: "Name that its certificate must be for, when that is not the address's host."},
		{Key: "milvus.request_timeout", Default: "30s", Value: durationValue{&m.RequestTimeout, 10 * time.Millisecond},
			Doc: "Time that it has for one request. A search has what is left of its own timeout, if that is less."},
		{Key: "milvus.upserts_max", Default: "4", Value: intValue{&m.Upserts, 1, math.MaxInt16},
			Doc: "Partitions whose vectors a compactor puts into it at once."},
	}
}

// checkMilvus checks what no setting of it can see alone.
func (c *Config) checkMilvus(fault fault) {
	m := &c.Milvus
	if m.Address == "" {
		for key, set := range map[string]bool{
			"milvus.username": m.Username != "", "milvus.password": m.Password != "", "milvus.token": m.Token != "", "milvus.tls": m.TLS, "milvus.database": m.Database != "",
		} {
			if set {
				fault(key, errors.New(key+" has no effect without milvus.address"))
			}
		}
	}
	if m.Token != "" && (m.Username != "" || m.Password != "") {
		fault("milvus.token", errors.New("milvus.token stands for a user: milvus.username and milvus.password do not go with it"))
	}
	if (m.Username == "") != (m.Password == "") {
		fault("milvus.username", errors.New("milvus.username and milvus.password go together"))
	}
	if !m.TLS {
		for key, text := range map[string]string{
			"milvus.ca_file": m.CAFile, "milvus.cert_file": m.CertFile, "milvus.key_file": m.KeyFile, "milvus.server_name": m.ServerName,
		} {
			if text != "" {
				fault(key, errors.New(key+" has no effect without milvus.tls=true"))
			}
		}
	}
}
