//go:build !nosql

package engine

import (
	"database/sql"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// binaryTable has a text that is not ASCII, one that is no UTF-8, and a tombstone.
func binaryTable(t *testing.T) string {
	path := filepath.Join(t.TempDir(), "t.parquet")
	db, err := sql.Open("duckdb", "")
	require.NoError(t, err)
	_, err = db.ExecContext(t.Context(), `COPY (SELECT 'orders' AS _topic, 0::INT AS _partition, i AS _offset, make_timestamptz(i) AS _timestamp,
		0::TINYINT AS _timestamp_type, [encode('café'), '\xFF\xFE'::BLOB, encode('7')][i + 1] AS _key,
		[encode('{"city":"Århus","tags":["a","b"],"n":{"x":1}}'), '\xFF'::BLOB, NULL][i + 1] AS _value,
		MAP {'h': encode('Æ')} AS _headers FROM range(3) r(i)) TO '`+path+`'`)
	require.NoError(t, err)
	require.NoError(t, db.Close())
	return path
}

func TestBinaryIsTextWhereTextIsMeant(t *testing.T) {
	e, file := open(t, Options{}), binaryTable(t)
	for expression, want := range map[string]string{
		`key LIKE 'caf%'`:                      `[[true],[null],[false]]`,
		`key NOT LIKE 'caf%'`:                  `[[false],[null],[true]]`,
		`key ILIKE 'CAFÉ'`:                     `[[true],[null],[false]]`,
		`upper(key)`:                           `[["CAFÉ"],[null],["7"]]`,
		`length(o.key)`:                        `[[4],[null],[1]]`,
		`octet_length(key)`:                    `[[5],[2],[1]]`, // of binary
		`hex(key)`:                             `[["636166C3A9"],["FFFE"],["37"]]`,
		`key || '!'`:                           `[["café!"],[null],["7!"]]`,
		`concat_ws('-', key, 'x')`:             `[["café-x"],["x"],["7-x"]]`,
		`key::VARCHAR`:                         `[["café"],[null],["7"]]`,
		`TRY_CAST(key AS INT)`:                 `[[null],[null],[7]]`,
		`key::BLOB`:                            `[["café"],[{"$binary":"//4="}],["7"]]`,
		`key[4]`:                               `[["é"],[null],[""]]`,
		`coalesce(key, 'none') || '!'`:         `[["café!"],["none!"],["7!"]]`,
		`coalesce(key, headers['h']) || '!'`:   `[["café!"],[null],["7!"]]`,
		`headers['h'] || key`:                  `[["Æcafé"],[null],["Æ7"]]`,
		`regexp_matches(value, 'Å')`:           `[[true],[null],[null]]`,
		`value -> 'city'`:                      `[["\"Århus\""],[null],[null]]`,
		`value ->> 'city'`:                     `[["Århus"],[null],[null]]`,
		`(value -> 'city') = '"Århus"'`:        `[[true],[null],[null]]`,
		`value -> 'tags' ->> 1`:                `[["b"],[null],[null]]`,
		`value -> 'n' -> 'x'`:                  `[["1"],[null],[null]]`,
		`value::JSON ->> '$.n.x'`:              `[["1"],[null],[null]]`,
		`json_type(value, '$.tags')`:           `[["ARRAY"],[null],[null]]`,
		`json_array_length(value, '$.tags')`:   `[[2],[null],[null]]`,
		`json_keys(value)`:                     `[[["city","tags","n"]],[null],[null]]`,
		`json_valid(value)`:                    `[[true],[null],[null]]`,
		`json_exists(value, '$.n.y')`:          `[[false],[null],[null]]`,
		`json_object('k', key)`:                `[["{\"k\":\"café\"}"],["{\"k\":null}"],["{\"k\":\"7\"}"]]`,
		`list_transform([1], x -> x + offset)`: `[[[1]],[[2]],[[3]]]`,
	} {
		got, err := ask(t, e, file, `SELECT `+expression+` FROM orders o ORDER BY offset`, 10)
		require.NoError(t, err, expression)
		require.Equal(t, want, got.json, expression)
	}
	for query, want := range map[string]string{
		`SELECT string_agg(key, ',' ORDER BY offset) FROM orders`:                                      `[["café,7"]]`,
		`SELECT k || '!' FROM (SELECT key AS k, offset FROM orders) ORDER BY offset LIMIT 1`:           `[["café!"]]`,
		`SELECT max(key) || '!' FROM orders WHERE offset = 0`:                                          `[["café!"]]`,
		`SELECT coalesce(max(key), 'x') || '!' FROM orders WHERE offset = 0`:                           `[["café!"]]`,
		`SELECT count(*) FROM orders WHERE key LIKE 'caf%' AND (value ->> 'city') LIKE 'Å%'`:           `[[1]]`,
		`SELECT upper(key) FROM (SELECT 'a' AS key)`:                                                   `[["A"]]`,
		`SELECT a.key || b.value FROM orders a JOIN (SELECT 0 AS o, 'x' AS value) b ON a.offset = b.o`: `[["caféx"]]`,
		`SELECT key LIKE 'x' AS key FROM orders ORDER BY key NULLS FIRST LIMIT 1`:                      `[[null]]`,
		`SELECT list_transform(['ä'], lambda key: key || '!')`:                                         `[[["ä!"]]]`,
	} {
		got, err := ask(t, e, file, query, 10)
		require.NoError(t, err, query)
		require.Equal(t, want, got.json, query)
	}
}

func TestWhatIsNoUTF8IsNullInExpressionsThatShareIt(t *testing.T) {
	e, file := open(t, Options{}), binaryTable(t)
	got, err := ask(t, e, file, `SELECT count(*), count(json_extract_string(value, '$.city')), count(json_extract_string(value, '$.tags')),
		count(value -> 'n'), count(json_extract_int(value, '$.n.x')), count(json_extract_float(value, '$.n.x')), count(json_keys(value)) FROM orders`, 10)
	require.NoError(t, err)
	require.Equal(t, `[[3,1,1,1,1,1,1]]`, got.json)
}
