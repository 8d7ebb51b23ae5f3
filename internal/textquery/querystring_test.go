package textquery

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestQueryStringIsReadAsLuceneReadsIt(t *testing.T) {
	for query, want := range map[string]string{
		``:                               `none`,
		`apple`:                          `f:'apple'`,
		`apple pie`:                      `f:'apple pie'`,
		`apple AND pie`:                  `(+f:'apple' +f:'pie')`,
		`a OR b AND c`:                   `(+f:'b' +f:'c' f:'a')`,
		`a b AND c`:                      `(+f:'b' +f:'c' f:'a')`,
		`a && b || c`:                    `(+f:'a' +f:'b' f:'c')`,
		`+a -b c`:                        `(+f:'a' f:'c' -f:'b')`,
		`a NOT b`:                        `(f:'a' -f:'b')`,
		`NOT b`:                          `(-f:'b')`,
		`!b`:                             `(-f:'b')`,
		`title:apple pie`:                `(title:'apple' f:'pie')`,
		`title:(apple pie)`:              `title:'apple pie'`,
		`title:(apple AND pie)^2 x`:      `(((+(+title:'apple' +title:'pie')))^2 f:'x')`,
		`"new york"`:                     `f:"new york"`,
		`"new york"~3^4`:                 `((+f:"new york"~3))^4`,
		`title:"say \"hi\""`:             `title:"say \"hi\""`,
		`qu?ck bro*`:                     `(f:?qu?ck f:bro*)`,
		`title:*`:                        `exists:title`,
		`*:*`:                            `*:*`,
		`quikc~ brwn~1 foks~0.5`:         `(f:quikc~-1 f:brwn~1 f:foks~2)`,
		`/joh?n(ath[oa]n)/`:              `f:/joh?n(ath[oa]n)/`,
		`age:[10 TO 20}`:                 `age:[10,20)`,
		`age:{* TO 20]`:                  `age:(*,20]`,
		`at:["2026-01-01" TO "2026 02"]`: `at:[2026-01-01,2026 02]`,
		`age:>=10 AND age:<20`:           `(+age:[10,*) +age:(*,20))`,
		`_exists_:title`:                 `exists:title`,
		`a\:b \(c\)`:                     `f:'a:b (c)'`,
		`book.\*:x`:                      `{book.*:'x'}~0`,
		`and or not`:                     `f:'and or not'`,
		`x^2 y`:                          `(((+f:'x'))^2 f:'y')`,
		`a b c^3`:                        `(f:'a b' ((+f:'c'))^3)`,
		`((a))`:                          `f:'a'`,
		`caf\u00e9 größe`:                `f:'café größe'`,
		`a/b`:                            `f:'a/b'`,
		`-`:                              ``,
		`a AND`:                          ``,
		`AND a`:                          ``,
		`(a`:                             ``,
		`a)`:                             ``,
		`"a`:                             ``,
		`/a`:                             ``,
		`f:`:                             ``,
		`f:g:h`:                          ``,
		`a^`:                             ``,
		`[1 TO`:                          ``,
		`[1 2]`:                          ``,
		`a\`:                             ``,
		strings.Repeat("(", 60) + "a" + strings.Repeat(")", 60): ``,
	} {
		o := NewStringOptions()
		o.Fields = []FieldBoost{{"f", 1}}
		q, err := ParseQueryString(query, o)
		if want == "" {
			require.Error(t, err, query)
			require.Contains(t, err.Error(), "Failed to parse query", query)
			continue
		}
		require.NoError(t, err, query)
		assert.Equal(t, want, show(q), query)
	}
}

func TestQueryStringOptions(t *testing.T) {
	o := NewStringOptions()
	o.Fields = []FieldBoost{{"f", 1}}
	o.Operator = And
	for query, want := range map[string]string{
		`a b`:      `f:'a b'&`,
		`a OR b c`: `(+f:'c'& f:'a'& f:'b'&)`,
		`a -b`:     `(+f:'a'& -f:'b'&)`,
	} {
		q, err := ParseQueryString(query, o)
		require.NoError(t, err)
		assert.Equal(t, want, show(q), query)
	}
	o = NewStringOptions()
	o.Fields = []FieldBoost{{"title", 5}, {"body", 1}}
	o.Minimum = MinimumOf(2)
	q, err := ParseQueryString(`(a) (b*) "c d"`, o)
	require.NoError(t, err)
	require.Equal(t, `({title:'a'^5 | body:'a'}~0 {title:b*^5 | body:b*}~0 {title:"c d"^5 | body:"c d"}~0)m[{-1 2 false}]`, show(q))
	o.NoLeadingStar = true
	_, err = ParseQueryString(`*a`, o)
	require.ErrorContains(t, err, "not allowed as first character")
}

func TestSimpleQueryStringNeverFails(t *testing.T) {
	for query, want := range map[string]string{
		``:                    `none`,
		`a b`:                 `(f:'a' f:'b')`,
		`a + b`:               `(+f:'a' +f:'b')`,
		`a | b + c`:           `(+(f:'a' f:'b') +f:'c')`,
		`"fried eggs" +(x|y)`: `(+f:"fried eggs" +(f:'x' f:'y'))`,
		`-a b`:                `((-f:'a') f:'b')`,
		`foo*`:                `f:foo*`,
		`*`:                   `*:*`,
		`rod~1 "a b"~4`:       `(f:rod~1 f:"a b"~4)`,
		`"open`:               `f:'open'`,
		`((a`:                 `f:'a'`,
		`a))`:                 `f:'a'`,
		`+ | a`:               `f:'a'`,
		`a\+b`:                `f:'a+b'`,
		`foo-bar`:             `f:'foo-bar'`,
		`title:x`:             `f:'title:x'`,
	} {
		q := ParseSimple(query, SimpleOptions{Fields: []FieldBoost{{"f", 1}}, Expand: newExpansion()})
		assert.Equal(t, want, show(q), query)
	}
	q := ParseSimple(`a|b -c`, SimpleOptions{Fields: []FieldBoost{{"f", 1}}, Without: map[string]bool{"OR": true, "NOT": true}})
	require.Equal(t, `(f:'a|b' f:'-c')`, show(q))
}

func FuzzQueryString(f *testing.F) {
	for _, seed := range []string{`a AND (b OR "c d"~2)^3 -e:[1 TO *} /x.y/ z~ q?*`, `a:>=2 \u00e9`, `((`, `"\"`} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, query string) {
		o := NewStringOptions()
		if q, err := ParseQueryString(query, o); err == nil && q == nil {
			t.Error("neither a query nor an error")
		}
		o.Fields = []FieldBoost{{"f", 1}, {"g", 2}}
		if q := ParseSimple(query, SimpleOptions{Fields: o.Fields}); q == nil {
			t.Error("every text is a simple query")
		}
	})
}
