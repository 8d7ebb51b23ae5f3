//go:build !nosql

package query

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/chronik-stream/chronik/metastore"
	"github.com/chronik-stream/chronik/objstore"
)

// reporting makes the node of a cluster report what it finds.
func reporting(c **cluster) func(*Config) {
	return func(config *Config) {
		config.ReportDamage = func(ctx context.Context, object, reason string) error {
			return (*c).store.ReportDamage(ctx, object, reason)
		}
		config.CatchUp = func(ctx context.Context) error { return (*c).store.CatchUp(ctx) }
	}
}

func (c *cluster) reports() (all []metastore.Damage) {
	c.store.Catalog().View(func(v *metastore.View) { all = v.Damaged() })
	return all
}

func TestWhatIsDamagedInTheBucketIsReportedAndNeverAWrongAnswer(t *testing.T) {
	for what, damage := range map[string]func(c *cluster, object string, b []byte) error{
		"missing": func(c *cluster, object string, _ []byte) error { return c.bucket.Delete(t.Context(), object) },
		"truncated": func(c *cluster, object string, b []byte) error {
			_, err := c.bucket.Put(t.Context(), object, objstore.Bytes(b[:len(b)/2]), objstore.Condition{})
			return err
		},
		"flipped": func(c *cluster, object string, b []byte) error {
			for i := 4; i < len(b)-8; i += 50 { // every part of it
				b[i] ^= 1
			}
			_, err := c.bucket.Put(t.Context(), object, objstore.Bytes(b), objstore.Condition{})
			return err
		},
	} {
		t.Run(what, func(t *testing.T) {
			var c *cluster
			c = newCluster(t, 1, func(config *Config) { reporting(&c)(config) })
			c.broker.Produce(t, 0, 0, `{"a":1}`)
			c.compact(0, 1)
			c.broker.Produce(t, 0, 0, `{"a":2}`)
			object := c.compact(0, 2)
			sound, err := c.bucket.Get(t.Context(), object, 0, -1)
			require.NoError(t, err)
			require.NoError(t, damage(c, object, append([]byte(nil), sound...)))

			const query = "SELECT sum(a) AS s FROM orders"
			for range 2 {
				r := c.refused(query, 503)
				require.Equal(t, "UNAVAILABLE", r.Code)
				require.Contains(t, r.Error, object)
				require.Equal(t, object, r.Details["object"])
			}
			require.Len(t, c.reports(), 1)
			require.Equal(t, object, c.reports()[0].Object)
			require.Equal(t, 1.0, c.ask("SELECT sum(a) AS s FROM orders WHERE offset = 0").Rows[0]["s"], "what needs it not is answered")

			require.NoError(t, c.store.LoseDamage(t.Context(), c.reports()[0], "the log is gone", c.reports()[0].Found))
			r := c.refused(query, 500)
			require.Equal(t, "INTERNAL_ERROR", r.Code)
			require.Contains(t, r.Error, "the log is gone")

			_, err = c.bucket.Put(t.Context(), object, objstore.Bytes(sound), objstore.Condition{})
			require.NoError(t, err)
			require.Equal(t, 3.0, c.ask(query).Rows[0]["s"], "once it is back, it is read")
		})
	}
}
