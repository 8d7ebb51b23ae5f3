package gate

import (
	"bytes"
	"context"
	"encoding/json"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/chronik-stream/chronik/query/prune"
)

// printer answers every Serialize with the tree that was given to the last
// Deserialize, or with a first one: a parser and printer without an engine.
// testdata/select.json is what DuckDB 1.5 makes of a query with most kinds of
// nodes; package engine has the tests with DuckDB itself.
type printer struct{ tree []byte }

func (p *printer) Serialize(context.Context, string) ([]byte, error) { return p.tree, nil }

func (p *printer) Deserialize(_ context.Context, tree []byte) (string, error) {
	p.tree = tree
	return "printed", nil
}

func recorded(t testing.TB) []byte {
	tree, err := os.ReadFile("testdata/select.json")
	require.NoError(t, err)
	return tree
}

var ordersOnly = NewNames([]string{"orders"})

func TestARecordedTreePassesWithItsNamesBound(t *testing.T) {
	p := &printer{recorded(t)}
	plan, err := Check(t.Context(), p, ordersOnly, "SELECT", 100)
	require.NoError(t, err)
	require.Len(t, plan.Tables, 2)
	for i, want := range []Table{{View: "latest_0", Topic: "orders", Kind: Latest}, {View: "cold_1", Topic: "orders", Kind: Cold}} {
		got := plan.Tables[i]
		got.Need = prune.Need{}
		require.Equal(t, want, got)
	}
	tree := string(p.tree)
	for _, want := range []string{
		`["o","_key"]`, `["_value"]`, `["_partition"]`, `["_timestamp"]`, `["_offset"]`, `["c","k"]`, `"exclude_list":["_headers"]`,
		`"table_name":"latest_0"`, `"table_name":"cold_1"`, `"function_name":"json_extract_string"`, `"alias":"offset"`,
	} {
		require.Contains(t, tree, want)
	}
	require.NotContains(t, tree, `"function_name":"->>"`)
}

// edit calls f for every object of a tree, which it may change, until f says
// that it did; skip counts how many changes to let pass first.
func edit(v any, f func(object) bool) bool {
	switch v := v.(type) {
	case object:
		if f(v) {
			return true
		}
		for _, field := range slices.Sorted(maps.Keys(v)) {
			if edit(v[field], f) {
				return true
			}
		}
	case []any:
		for _, c := range v {
			if edit(c, f) {
				return true
			}
		}
	}
	return false
}

// Every node in turn gets what no list knows; none may pass.
func TestWhatIsOnNoListIsRefusedWhereverItStands(t *testing.T) {
	for name, change := range map[string]func(object) bool{
		"an unknown field": func(o object) bool {
			if _, isNode := o["type"].(string); !isNode || strings.HasSuffix(text(o, "type"), "_INFO") {
				return false
			}
			o["invented"] = true
			return true
		},
		"an unknown class": func(o object) bool {
			if _, ok := o["class"].(string); !ok {
				return false
			}
			o["class"] = "INVENTED"
			return true
		},
		"a forbidden function": func(o object) bool {
			if _, ok := o["function_name"].(string); !ok {
				return false
			}
			o["function_name"] = "read_text"
			return true
		},
		"a function of another schema": func(o object) bool {
			if _, ok := o["function_name"].(string); !ok {
				return false
			}
			o["schema"] = "pg_catalog"
			return true
		},
		"an unknown table": func(o object) bool {
			if o["type"] != "BASE_TABLE" {
				return false
			}
			o["table_name"] = "/etc/passwd"
			return true
		},
		"a table of another catalog": func(o object) bool {
			if o["type"] != "BASE_TABLE" {
				return false
			}
			o["catalog_name"] = "system"
			return true
		},
		"an unknown type": func(o object) bool {
			if o["type_info"] == nil && o["id"] == nil {
				return false
			}
			o["id"] = "POINTER"
			return true
		},
		"an object in the place of a list": func(o object) bool {
			for _, field := range []string{"children", "orders", "select_list", "values"} {
				if l, ok := o[field].([]any); ok && len(l) > 0 {
					o[field] = object{}
					return true
				}
			}
			return false
		},
	} {
		t.Run(name, func(t *testing.T) {
			places := 0
			for ; ; places++ {
				tree := decode(t, recorded(t))
				left := places
				changed := edit(tree, func(o object) bool {
					copied := object{}
					for k, v := range o {
						copied[k] = v
					}
					if !change(copied) {
						return false
					}
					if left > 0 {
						left--
						return false
					}
					for k, v := range copied {
						o[k] = v
					}
					return true
				})
				if !changed {
					break
				}
				encoded, err := json.Marshal(tree)
				require.NoError(t, err)
				_, err = Check(t.Context(), &printer{encoded}, ordersOnly, "SELECT", 100)
				require.Error(t, err, "change %d of %s", places, encoded)
			}
			require.Positive(t, places)
		})
	}
}

func decode(t testing.TB, tree []byte) any {
	var v any
	decoder := json.NewDecoder(bytes.NewReader(tree))
	decoder.UseNumber()
	require.NoError(t, decoder.Decode(&v))
	return v
}

// A printer that writes something else than it was given does not get far.
type liar struct{ first, then []byte }

func (l *liar) Serialize(context.Context, string) ([]byte, error) {
	tree := l.first
	l.first = l.then
	return tree, nil
}

func (l *liar) Deserialize(context.Context, []byte) (string, error) { return "SELECT", nil }

func TestThePrintedTextIsCheckedAgain(t *testing.T) {
	honest := recorded(t)
	for _, table := range []string{"cold_1", "latest_0"} {
		// The table by its user's name, or a view that the plan has not bound.
		_, err := Check(t.Context(), &liar{honest, bytes.ReplaceAll(honest, []byte("orders_cold"), []byte(table))}, ordersOnly, "SELECT", 100)
		require.ErrorIs(t, err, ErrInvalid)
	}
	_, err := Check(t.Context(), &liar{honest, []byte(`{"error":false,"statements":[]}`)}, ordersOnly, "SELECT", 100)
	require.ErrorIs(t, err, ErrInvalid)
}

func TestOffsetIsQuotedWhereItIsAWord(t *testing.T) {
	for _, c := range []struct {
		sql  string
		at   int
		want string
	}{
		{`SELECT offset FROM t`, 7, `SELECT "offset" FROM t`},
		{`SELECT key, Offset FROM t`, 19, `SELECT key, "Offset" FROM t`},
		{`SELECT 'offset', offset`, -1, `SELECT 'offset', "offset"`},
		{`SELECT 'ä''offset', offset + offset`, 20, `SELECT 'ä''offset', "offset" + offset`},
		{"SELECT offset -- offset\n/* offset */", -1, "SELECT \"offset\" -- offset\n/* offset */"},
		{`SELECT offset, $x$offset$x$, $$offset$$, E'\'offset'`, -1, `SELECT "offset", $x$offset$x$, $$offset$$, E'\'offset'`},
	} {
		got, ok := quoteOffset(c.sql, c.at)
		require.True(t, ok, c.sql)
		require.Equal(t, c.want, got)
	}
	for _, sql := range []string{`SELECT "offset", my_offset, offsets`, `'offset`, `"offset`, `$$offset`, `/* offset`, ``} {
		_, ok := quoteOffset(sql, -1)
		require.False(t, ok, sql)
	}
}

// Invariant: quoting adds two quotes around one word and changes nothing else.
func FuzzQuoteOffset(f *testing.F) {
	for _, seed := range []string{`SELECT offset`, `'offset`, `$$offset$$ offset`, `e'\' offset`, "ä offset"} {
		f.Add(seed, -1)
	}
	f.Fuzz(func(t *testing.T, sql string, at int) {
		quoted, ok := quoteOffset(sql, at)
		if !ok {
			require.Equal(t, sql, quoted)
			return
		}
		i := 0
		for i < len(sql) && sql[i] == quoted[i] {
			i++
		}
		require.Equal(t, `"`, quoted[i:i+1])
		require.True(t, strings.EqualFold(quoted[i:i+8], `"offset"`))
		require.Equal(t, sql, quoted[:i]+quoted[i+1:i+7]+quoted[i+8:])
	})
}

func TestNamesFindTopics(t *testing.T) {
	names := NewNames([]string{"orders", "Logs", "we.ird-name", "a.b", "a_b", "a-b", "x", "x_cold", "y_hot", "UPPER", "upper"})
	for name, want := range map[string]struct {
		topic string
		kind  Kind
	}{
		"orders": {"orders", Latest}, "ORDERS": {"orders", Latest}, "logs": {"Logs", Latest}, "orders_cold": {"orders", Cold},
		"Orders_COLD": {"orders", Cold}, "we.ird-name": {"we.ird-name", Latest}, "we_ird_name": {"we.ird-name", Latest},
		"we.ird-name_cold": {"we.ird-name", Cold}, "a.b": {"a.b", Latest}, "a_b": {"a_b", Latest}, "a-b_cold": {"a-b", Cold},
		"x_cold": {"x_cold", Latest}, "x_cold_cold": {"x_cold", Cold}, "x_cold_hot": {"x_cold", Hot},
		"orders_hot": {"orders", Hot}, "Orders_Hot": {"orders", Hot}, "a-b_hot": {"a-b", Hot}, "y_hot_hot": {"y_hot", Hot},
		"y_hot": {"y_hot", Latest}, "UPPER": {"UPPER", Latest}, "upper": {"upper", Latest},
	} {
		topic, kind, err := names.Lookup(name)
		require.NoError(t, err, name)
		require.Equal(t, want.topic, topic, name)
		require.Equal(t, want.kind, kind, name)
	}
	for name, want := range map[string]error{
		"nowhere": ErrUnknownTable, "": ErrUnknownTable, "_cold": ErrUnknownTable, "nowhere_hot": ErrUnknownTable,
		"A_B": ErrInvalid, "Upper": ErrInvalid, "A_b_cold": ErrInvalid, "A_b_hot": ErrInvalid, "_hot": ErrUnknownTable, "y": ErrUnknownTable,
	} {
		_, _, err := names.Lookup(name)
		require.ErrorIs(t, err, want, name)
	}
	require.True(t, names.Collides("a-b"))
	require.False(t, names.Collides("orders"))
}
