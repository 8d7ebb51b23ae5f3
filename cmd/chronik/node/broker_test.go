package node

import (
	"net/netip"
	"os"
	"reflect"
	"testing"
	"time"

	"github.com/chronik-stream/chronik/broker/wire"
	"github.com/chronik-stream/chronik/cmd/chronik/config"
	"github.com/chronik-stream/chronik/metastore"
)

// A limit whose setting goes nowhere would be the worst of both.
func TestEveryLimitOfConnectionsIsWhatItsSettingSays(t *testing.T) {
	limits := map[string]struct {
		value string
		field string
		want  any
	}{
		"kafka.connections_max":          {"11", "ConnectionsMax", 11},
		"kafka.connections_per_ip_max":   {"12", "ConnectionsPerIPMax", 12},
		"kafka.connection_rate_max":      {"13", "ConnectionRateMax", 13},
		"kafka.pipeline_max":             {"14", "PipelineMax", 14},
		"kafka.requests_max":             {"15", "RequestsMax", 15},
		"kafka.connection_bytes_max":     {"16MiB", "ConnectionBytesMax", int64(16 << 20)},
		"kafka.frame_bytes_max":          {"300MiB", "BytesMax", int64(300 << 20)},
		"kafka.answer_bytes_max":         {"17MiB", "AnswerBytesMax", int64(17 << 20)},
		"kafka.idle_timeout":             {"18s", "IdleTimeout", 18 * time.Second},
		"kafka.frame_timeout":            {"19s", "FrameTimeout", 19 * time.Second},
		"kafka.write_timeout":            {"20s", "WriteTimeout", 20 * time.Second},
		"kafka.internal.connections_max": {"24", "InternalConnectionsMax", 24},
		"kafka.stall_timeout":            {"22s", "StallTimeout", 22 * time.Second},
	}
	fields := map[string]bool{"Quota": true, "ProxyTrusted": true} // are no numbers
	for setting, c := range limits {
		fields[c.field] = true
		cfg, err := config.Load(config.Inputs{Flags: []config.Flag{{Key: setting, Value: c.value}}})
		if err != nil {
			t.Fatalf("%s: %v", setting, err)
		}
		got := reflect.ValueOf(brokerConfig(cfg).Wire).FieldByName(c.field).Interface()
		if got != c.want {
			t.Errorf("%s=%s makes %s %v", setting, c.value, c.field, got)
		}
	}
	for i := range reflect.TypeFor[wire.Config]().NumField() {
		if name := reflect.TypeFor[wire.Config]().Field(i).Name; !fields[name] {
			t.Errorf("wire.Config.%s has no setting", name)
		}
	}
	cfg, err := config.Load(config.Inputs{Flags: []config.Flag{{Key: "quota.burst", Value: "21s"}, {Key: "kafka.cold_bytes_max", Value: "23MiB"}}})
	if err != nil {
		t.Fatal(err)
	}
	if got := brokerConfig(cfg).API.Quota.Burst; got != 21*time.Second {
		t.Errorf("quota.burst makes %v", got)
	}
	if got := brokerConfig(cfg).Fetch.ColdBytesMax; got != 23<<20 {
		t.Errorf("kafka.cold_bytes_max makes %v", got)
	}
}

func TestTheTrustedProxiesAreThoseOfTheSetting(t *testing.T) {
	believes := func(address string, flags ...config.Flag) bool {
		cfg, err := config.Load(config.Inputs{Flags: flags})
		if err != nil {
			t.Fatal(err)
		}
		trusted := brokerConfig(cfg).Wire.ProxyTrusted
		return trusted != nil && trusted(netip.MustParseAddr(address))
	}
	on := config.Flag{Key: "kafka.proxy_protocol", Value: "true"}
	from := config.Flag{Key: "kafka.proxy_trusted", Value: "10.0.0.0/8, 2001:db8::7"}
	for address, want := range map[string][3]bool{"10.1.2.3": {false, true, true}, "11.1.2.3": {false, true, false}, "2001:db8::7": {false, true, true}} {
		if got := [3]bool{believes(address), believes(address, on), believes(address, on, from)}; got != want {
			t.Errorf("%s: %v, want %v", address, got, want)
		}
	}
}

func TestTheInternalListenerIsOpenedAndAdvertised(t *testing.T) {
	machine, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ listen, advertised, host string }{
		{"", "", ""}, {"127.0.0.1:0", "", "127.0.0.1"}, {":0", "", machine}, {":0", "broker-1.example", "broker-1.example"},
	} {
		cfg, err := config.Load(config.Inputs{Flags: []config.Flag{{Key: "kafka.listen", Value: "localhost:0"}, {Key: "kafka.internal.listen", Value: c.listen}, {Key: "kafka.internal.advertised", Value: c.advertised}}})
		if err != nil && c.listen != "" {
			t.Fatal(err)
		}
		open, err := (&Node{cfg: cfg}).listenKafka()
		if err != nil {
			t.Fatal(err)
		}
		if c.listen == "" && len(open) != 1 {
			t.Errorf("%d listeners though there is no internal one", len(open))
		}
		for _, l := range open {
			defer closeAll(l.Sockets)
		}
		if c.listen == "" {
			continue
		}
		last := open[len(open)-1]
		want := metastore.Listener{Name: metastore.InternalListener, Host: c.host, Port: int32(portOf(last.Sockets[0]))}
		if len(open) != 2 || last.Advertised != want {
			t.Errorf("listening at %s, advertised %q: %+v", c.listen, c.advertised, last.Advertised)
		}
	}
}
