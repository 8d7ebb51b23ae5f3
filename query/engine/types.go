package engine

import (
	"fmt"
	"strconv"
	"strings"
)

// Type is a DuckDB type. It is compared by its parts: Name for plain types,
// Elem and Fields for nested ones.
type Type struct {
	Name         string  // DuckDB's: BIGINT, VARCHAR, LIST, ARRAY, MAP, STRUCT, DECIMAL, …
	Width, Scale int     // of DECIMAL
	Size         int     // of ARRAY
	Elem         *Type   // of LIST, ARRAY
	Fields       []Field // of STRUCT; of MAP: key and value
}

// Field is a member of a STRUCT.
type Field struct {
	Name string
	Type Type
}

// ParseType reads the text by which DuckDB names a type, such as
// STRUCT(a INTEGER[], "b c" MAP(VARCHAR, DECIMAL(10,2))). What it cannot take
// apart becomes a plain type of that name.
func ParseType(text string) Type {
	p := &typeParser{rest: text}
	t, ok := p.parse()
	if !ok || strings.TrimSpace(p.rest) != "" {
		return Type{Name: text}
	}
	return t
}

type typeParser struct{ rest string }

func (p *typeParser) parse() (Type, bool) {
	p.rest = strings.TrimLeft(p.rest, " ")
	var t Type
	ok := true
	switch {
	case p.skip("STRUCT("):
		t.Name = "STRUCT"
		t.Fields, ok = p.fields()
	case p.skip("MAP("):
		t.Name = "MAP"
		t.Fields, ok = p.keyValue()
	case p.skip("DECIMAL("):
		t.Name = "DECIMAL"
		inner, after, found := strings.Cut(p.rest, ")")
		if _, err := fmt.Sscanf(inner, "%d,%d", &t.Width, &t.Scale); err != nil || !found {
			return t, false
		}
		p.rest = after
	default:
		end := strings.IndexAny(p.rest, "[],()")
		if end < 0 {
			end = len(p.rest)
		}
		t.Name, p.rest = p.rest[:end], p.rest[end:]
		ok = t.Name != ""
	}
	if !ok {
		return t, false
	}
	return p.suffixes(t)
}

// suffixes reads [] and [n].
func (p *typeParser) suffixes(t Type) (Type, bool) {
	for p.skip("[") {
		inner, after, found := strings.Cut(p.rest, "]")
		if !found {
			return t, false
		}
		p.rest = after
		elem := t
		if inner == "" {
			t = Type{Name: "LIST", Elem: &elem}
			continue
		}
		size, err := strconv.Atoi(inner)
		if err != nil {
			return t, false
		}
		t = Type{Name: "ARRAY", Elem: &elem, Size: size}
	}
	return t, true
}

func (p *typeParser) fields() ([]Field, bool) {
	var fields []Field
	for {
		p.rest = strings.TrimLeft(p.rest, " ")
		name, ok := p.fieldName()
		if !ok {
			return nil, false
		}
		t, ok := p.parse()
		if !ok {
			return nil, false
		}
		fields = append(fields, Field{name, t})
		if p.skip(")") {
			return fields, true
		}
		if !p.skip(",") {
			return nil, false
		}
	}
}

func (p *typeParser) fieldName() (string, bool) {
	if !p.skip(`"`) {
		name, after, found := strings.Cut(p.rest, " ")
		p.rest = after
		return name, found
	}
	var name strings.Builder
	for i := 0; i < len(p.rest); i++ {
		if p.rest[i] != '"' {
			name.WriteByte(p.rest[i])
			continue
		}
		if i+1 < len(p.rest) && p.rest[i+1] == '"' {
			name.WriteByte('"')
			i++
			continue
		}
		p.rest = p.rest[i+1:]
		return name.String(), true
	}
	return "", false
}

func (p *typeParser) keyValue() ([]Field, bool) {
	key, ok := p.parse()
	if !ok || !p.skip(",") {
		return nil, false
	}
	value, ok := p.parse()
	if !ok || !p.skip(")") {
		return nil, false
	}
	return []Field{{"key", key}, {"value", value}}, true
}

func (p *typeParser) skip(prefix string) bool {
	rest, ok := strings.CutPrefix(p.rest, prefix)
	if ok {
		p.rest = rest
	}
	return ok
}

// arrowNames are the Arrow types of DuckDB's plain types, as Arrow's Go library
// writes them.
var arrowNames = map[string]string{
	"BOOLEAN": "bool", "TINYINT": "int8", "SMALLINT": "int16", "INTEGER": "int32", "BIGINT": "int64",
	"UTINYINT": "uint8", "USMALLINT": "uint16", "UINTEGER": "uint32", "UBIGINT": "uint64",
	"HUGEINT": "decimal(38, 0)", "UHUGEINT": "decimal(38, 0)", "FLOAT": "float32", "DOUBLE": "float64",
	"VARCHAR": "utf8", "UUID": "utf8", "ENUM": "utf8", "JSON": "utf8", "BIGNUM": "utf8", "BIT": "utf8", "BLOB": "binary",
	"DATE": "date32", "TIME": "time64[us]", "TIME_NS": "time64[ns]", "TIMETZ": "time64[us]",
	"TIMESTAMP": "timestamp[us]", "TIMESTAMP_S": "timestamp[s]", "TIMESTAMP_MS": "timestamp[ms]", "TIMESTAMP_NS": "timestamp[ns]",
	"TIMESTAMPTZ": "timestamp[us, tz=UTC]", "TIMESTAMP WITH TIME ZONE": "timestamp[us, tz=UTC]",
	"INTERVAL": "month_day_nano_interval", "SQLNULL": "null", "NULL": "null",
}

// Arrow is the text of the Arrow type that t is exported as.
func (t Type) Arrow() string {
	switch t.Name {
	case "DECIMAL":
		return fmt.Sprintf("decimal(%d, %d)", t.Width, t.Scale)
	case "LIST":
		return "list<item: " + t.Elem.Arrow() + ", nullable>"
	case "ARRAY":
		return fmt.Sprintf("fixed_size_list<item: %s, nullable>[%d]", t.Elem.Arrow(), t.Size)
	case "MAP":
		return fmt.Sprintf("map<%s, %s, items_nullable>", t.Fields[0].Type.Arrow(), t.Fields[1].Type.Arrow())
	case "STRUCT":
		parts := make([]string, len(t.Fields))
		for i, f := range t.Fields {
			parts[i] = f.Name + ": " + f.Type.Arrow()
		}
		return "struct<" + strings.Join(parts, ", ") + ">"
	}
	if name, ok := arrowNames[t.Name]; ok {
		return name
	}
	return strings.ToLower(t.Name)
}
