package prune

import (
	"math"
	"math/big"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/chronik-stream/chronik/internal/columnar"
	"github.com/chronik-stream/chronik/internal/manifest"
)

// rows are facts made of values, as exact as facts can be.
type rows map[string]Fact

func (r rows) Column(name string) (Fact, bool) { f, ok := r[name]; return f, ok }
func (r rows) Contains(string, Value) bool     { return true }

func between(least, greatest Value) Fact {
	return Fact{Kind: least.Kind, Min: least, Max: greatest, Bounded: true}
}

func TestBoundsSpeakAgainstWhatLiesOutside(t *testing.T) {
	facts := rows{"x": between(OfInt(10), OfInt(20))}
	for op, may := range map[Op]map[int64]bool{
		Equal:        {9: false, 10: true, 15: true, 20: true, 21: false},
		Less:         {9: false, 10: false, 11: true, 21: true},
		LessEqual:    {9: false, 10: true, 21: true},
		Greater:      {9: true, 19: true, 20: false, 21: false},
		GreaterEqual: {9: true, 20: true, 21: false},
	} {
		for c, want := range may {
			values := Values{{Value: OfInt(c)}, {Value: OfFloat(float64(c))}, {Value: OfRat(new(big.Rat).SetInt64(c))}}
			for i := range values {
				require.Equal(t, want, May(Compare{Column: "x", Op: op, Constant: i}, values, facts), "%d %v", op, values[i])
				require.Equal(t, want, Why(Compare{Column: "x", Op: op, Constant: i}, values, facts) == "")
			}
		}
	}
}

func TestWhatIsNotSureSaysNothing(t *testing.T) {
	big53 := int64(1) << 53
	for name, c := range map[string]struct {
		fact     Fact
		constant Constant
	}{
		"another kind":                  {between(OfInt(1), OfInt(2)), Constant{Value: OfText("9")}},
		"an unknown constant":           {between(OfInt(1), OfInt(2)), Constant{}},
		"NaN":                           {between(OfFloat(1), OfFloat(2)), Constant{Value: OfFloat(math.NaN())}},
		"no bounds":                     {Fact{Kind: Int}, Constant{Value: OfInt(9)}},
		"equal when rounded":            {between(OfInt(big53), OfInt(big53)), Constant{Value: OfFloat(float64(big53))}},
		"another, and equal rounded":    {between(OfInt(big53+1), OfInt(big53+1)), Constant{Value: OfFloat(float64(big53))}},
		"a text that is no time":        {between(OfTime(1), OfTime(2)), Constant{Value: OfText("junk")}},
		"an escape beside bytes":        {between(OfBytes([]byte("a")), OfBytes([]byte("b"))), Constant{Value: OfText(`\x61`)}},
		"beyond ASCII beside bytes":     {between(OfBytes([]byte("a")), OfBytes([]byte("b"))), Constant{Value: OfText("é")}},
		"a column that is not there":    {Fact{}, Constant{Value: OfInt(9)}},
		"zero of either sign":           {between(OfFloat(math.Copysign(0, -1)), OfFloat(0)), Constant{Value: OfFloat(0)}},
		"infinity, which is a greatest": {between(OfFloat(1), OfFloat(math.Inf(1))), Constant{Value: OfFloat(math.Inf(1))}},
	} {
		require.True(t, May(Compare{Column: "x"}, Values{c.constant}, rows{"x": c.fact}), name)
		require.True(t, May(In{"x", []int{0}}, Values{c.constant}, rows{"x": c.fact}), name)
	}
	require.True(t, May(Compare{Column: "x", Constant: 7}, nil, rows{"x": between(OfInt(1), OfInt(2))}), "a constant that is not there")
	require.True(t, May(Compare{Column: "x"}, Values{{Value: OfInt(9)}}, rows{}), "a column of which nothing is known")
	require.True(t, May(nil, nil, rows{}))
	require.True(t, May(And{}, nil, rows{}))
	require.False(t, May(Or{}, nil, rows{}))
}

// Whatever the numbers, what is said to be impossible is so, as they are and
// rounded to doubles.
func TestNumbersAreComparedAsTheEngineMight(t *testing.T) {
	rng := rand.New(rand.NewPCG(2, 3))
	number := func() Value {
		n := rng.Int64N(40) - 20
		switch rng.IntN(4) {
		case 0:
			return OfInt(n + 1<<53)
		case 1:
			return OfFloat(float64(n) / 4)
		case 2:
			return OfRat(big.NewRat(n, 3))
		}
		return OfInt(n)
	}
	holds := func(op Op, c int) bool {
		return op == Equal && c == 0 || op == Less && c < 0 || op == LessEqual && c <= 0 || op == Greater && c > 0 || op == GreaterEqual && c >= 0
	}
	impossible := 0
	for range 200_000 {
		least, value, greatest, c := number(), number(), number(), number()
		if least.rat().Cmp(value.rat()) > 0 || value.rat().Cmp(greatest.rat()) > 0 {
			continue
		}
		if least.Kind != value.Kind || greatest.Kind != value.Kind {
			continue
		}
		op := Op(rng.IntN(5))
		if May(Compare{Column: "x", Op: op}, Values{{Value: c}}, rows{"x": between(least, greatest)}) {
			continue
		}
		impossible++
		require.False(t, holds(op, value.rat().Cmp(c.rat())), "%v %v %v", value, op, c)
		if value.Kind != Int || c.Kind != Int {
			a, b := value.float(), c.float()
			rounded := 0
			if a < b {
				rounded = -1
			} else if a > b {
				rounded = 1
			}
			require.False(t, holds(op, rounded), "rounded: %v %v %v", value, op, c)
		}
	}
	require.Greater(t, impossible, 1000)
}

func TestNullsSpeakForThemselves(t *testing.T) {
	for nulls, want := range map[Nulls][3]bool{NoNulls: {false, true, true}, SomeNulls: {true, true, true}, OnlyNulls: {true, false, false}} {
		facts := rows{"x": {Kind: Int, Nulls: nulls}}
		require.Equal(t, want[0], May(IsNull{"x"}, nil, facts))
		require.Equal(t, want[1], May(NotNull{"x"}, nil, facts))
		require.Equal(t, want[2], May(Compare{Column: "x"}, Values{{Value: OfInt(1)}}, facts))
	}
}

func TestAManifestSaysWhatItsFilesHave(t *testing.T) {
	col := func(name string, typ columnar.Type) columnar.Column { return columnar.Column{Name: name, Type: typ} }
	table := NewTable("orders", []columnar.Column{col("x", columnar.Double), col("Mixed", columnar.Text), col("late", columnar.Bool)})
	f := table.File(manifest.File{First: 100, Next: 200, MinTimestamp: 5, MaxTimestamp: 7}, []columnar.Column{col("x", columnar.Int64), col("mixed", columnar.Int64)}, 3, 150, 180)
	for name, want := range map[string]Fact{
		"_offset":    {Kind: Int, Min: OfInt(150), Max: OfInt(179), Bounded: true, Nulls: NoNulls},
		"_partition": {Kind: Int, Min: OfInt(3), Max: OfInt(3), Bounded: true, Nulls: NoNulls},
		"_timestamp": {Kind: Time, Min: OfTime(5000), Max: OfTime(7000), Bounded: true, Nulls: NoNulls},
		"_key":       {Kind: Binary},
		"x":          {Kind: Int},
		"mixed":      {}, // it is shown as text
		"late":       {Nulls: OnlyNulls},
	} {
		got, ok := f.Column(name)
		require.True(t, ok)
		require.Equal(t, want, got, name)
	}
	where := Compare{Column: "x"}
	require.Nil(t, table.Sound(Need{Where: where, Words: []string{"current_date", "late"}}).Where)
	require.Equal(t, where, table.Sound(Need{Where: where, Words: []string{"current_date"}}).Where)
	_, ok := f.Column("unknown")
	require.False(t, ok, "the query means something else by it")
	far := table.File(manifest.File{Next: 1, MinTimestamp: math.MinInt64, MaxTimestamp: math.MaxInt64}, nil, 0, 0, 1)
	got, _ := far.Column("_timestamp")
	require.False(t, got.Bounded, "files keep their timestamps within the years that SQL knows")
}

func TestParametersAreWhatTheEngineMakesOfThem(t *testing.T) {
	noon := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	for _, c := range []struct {
		parameter any
		want      Constant
	}{
		{int64(5), Constant{Value: OfInt(5)}},
		{uint64(5), Constant{Value: OfInt(5)}},
		{uint64(math.MaxUint64), Constant{Value: OfRat(new(big.Rat).SetUint64(math.MaxUint64))}},
		{1.5, Constant{Value: OfFloat(1.5)}},
		{true, Constant{Value: OfBool(true)}},
		{[]byte{1}, Constant{Value: OfBytes([]byte{1})}},
		{noon, Constant{Value: OfTime(noon.UnixMicro())}},
		{"x", Constant{Value: OfText("x")}},
		{"2026-11-23T13:00:00+01:00", Constant{Value: OfText("2026-11-23T13:00:00+01:00"), AsTime: OfTime(noon.UnixMicro())}},
		{"2026-11-23", Constant{Value: OfText("2026-11-23")}}, // read by the engine in a way of its own
		{nil, Constant{}},
		{struct{}{}, Constant{}},
		{math.NaN(), Constant{}},
	} {
		require.Equal(t, c.want, OfParameter(c.parameter))
	}
}
