package elastic

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/chronik-stream/chronik/internal/textindex"
	"github.com/chronik-stream/chronik/internal/topic"
)

// create makes a searchable topic.
func (c *call) create() error {
	name := c.Param("index")
	c.harmless("wait_for_active_shards", "master_timeout", "timeout")
	body, err := c.body()
	if err != nil {
		return err
	}
	if err := c.rest(c.Request.URL.Path); err != nil {
		return err
	}
	if !creatable(name) {
		return invalidName(name)
	}
	d, err := readDefinition(body)
	if err != nil {
		return err
	}
	ctx := c.Request.Context()
	if err := c.surface.o.Backend.CreateTopic(ctx, name, d.partitions, d.config()); err != nil {
		if errors.Is(err, ErrTopicExists) {
			return &Error{Status: http.StatusBadRequest, Type: "resource_already_exists_exception", Reason: "index [" + name + "] already exists", Index: name}
		}
		return err
	}
	if err := c.surface.o.Backend.CatchUp(ctx); err != nil {
		return err
	}
	return c.answer(http.StatusOK, func(w *writer) {
		w.object(func() {
			w.member("acknowledged", true)
			w.member("shards_acknowledged", true)
			w.member("index", name)
		})
	})
}

// creatable names can be reached as an index.
func creatable(name string) bool {
	return topic.ValidateName(name) == nil && !Reserved(name) && !strings.HasPrefix(name, "_") && !strings.HasPrefix(name, "-")
}

func invalidName(name string) *Error {
	why := "it is of letters, digits, '.', '_' and '-', does not begin with '_' or '-', and has at most 249 characters"
	if Reserved(name) {
		why = "other paths of this server begin with it"
	}
	return &Error{Status: http.StatusBadRequest, Type: "invalid_index_name_exception", Reason: fmt.Sprintf("Invalid index name [%s]: %s", name, why), Index: name}
}

// definition is what the body of a creation says.
type definition struct {
	partitions int32
	analyzer   string            // empty: the default
	types      map[string]string // field to type
	fields     []string          // nil: all are indexed
}

func (d *definition) config() map[string]string {
	config := map[string]string{"searchable": "true"}
	if d.analyzer != "" {
		config["search.analyzer"] = d.analyzer
	}
	if len(d.fields) > 0 {
		config["search.fields"] = strings.Join(d.fields, ",")
	}
	if len(d.types) > 0 {
		text, err := json.Marshal(d.types)
		if err == nil { // texts always can
			config["search.mapping"] = string(text)
		}
	}
	return config
}

// object is a JSON object whose members are read one by one.
type object map[string]json.RawMessage

func readObject(text []byte, what string) (object, error) {
	var o object
	decoder := json.NewDecoder(bytes.NewReader(text))
	if err := decoder.Decode(&o); err != nil || o == nil {
		return nil, &Error{Status: http.StatusBadRequest, Type: "parse_exception", Reason: "[" + what + "] has to be a JSON object"}
	}
	return o, nil
}

func readDefinition(body []byte) (*definition, error) {
	d := &definition{types: map[string]string{}}
	if len(bytes.TrimSpace(body)) == 0 {
		return d, nil
	}
	o, err := readObject(body, "the body")
	if err != nil {
		return nil, err
	}
	for _, name := range slices.Sorted(maps.Keys(o)) {
		switch name {
		case "settings":
			err = d.settings(o[name], "")
		case "mappings":
			err = d.mappings(o[name])
		case "aliases":
			if aliases, bad := readObject(o[name], name); bad != nil || len(aliases) > 0 {
				err = badRequest("[aliases] are not supported")
			}
		default:
			err = &Error{Status: http.StatusBadRequest, Type: "parse_exception", Reason: "unknown key [" + name + "] for create index"}
		}
		if err != nil {
			return nil, err
		}
	}
	return d, nil
}

// settings reads settings, which may be nested or dotted, with or without "index.".
func (d *definition) settings(text []byte, prefix string) error {
	o, err := readObject(text, "settings")
	if err != nil {
		return err
	}
	for _, name := range slices.Sorted(maps.Keys(o)) {
		full := strings.TrimPrefix(prefix+name, "index.")
		value := strings.Trim(string(bytes.TrimSpace(o[name])), `"`)
		switch full {
		case "index":
			if err := d.settings(o[name], "index."); err != nil {
				return err
			}
		case "number_of_shards":
			n, err := strconv.ParseInt(value, 10, 32)
			if err != nil || n < 1 {
				return badRequest("Failed to parse value [%s] for setting [index.number_of_shards] must be >= 1", value)
			}
			d.partitions = int32(n)
		case "number_of_replicas", "auto_expand_replicas", "refresh_interval":
			// Without effect: the bucket replicates, and what is acknowledged is found.
		default:
			return badRequest("unknown setting [index.%s]; partitions are [index.number_of_shards], other settings are those of the topic", full)
		}
	}
	return nil
}

func (d *definition) mappings(text []byte) error {
	o, err := readObject(text, "mappings")
	if err != nil {
		return err
	}
	only := false
	for _, name := range slices.Sorted(maps.Keys(o)) {
		value := strings.Trim(string(bytes.TrimSpace(o[name])), `"`)
		switch {
		case name == "properties":
			err = d.properties(o[name], "")
		case name == "dynamic" && value == "false":
			only = true
		case name == "dynamic" && value == "true", name == "date_detection" && value == "true", name == "numeric_detection" && value == "false":
		case name == "_source":
			err = sourceKept(o[name])
		default:
			err = mapperError("[mappings.%s] with value %s is not supported", name, o[name])
		}
		if err != nil {
			return err
		}
	}
	if only {
		if len(d.fields) == 0 {
			return mapperError("[dynamic] is false and there are no [properties]: nothing would be indexed")
		}
		slices.Sort(d.fields)
		return nil
	}
	d.fields = nil
	return nil
}

func sourceKept(text []byte) error {
	var source struct {
		Enabled *bool `json:"enabled"`
	}
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&source); err != nil || source.Enabled != nil && !*source.Enabled {
		return mapperError("[_source] cannot be changed: a record is always kept whole")
	}
	return nil
}

func mapperError(format string, args ...any) *Error {
	return &Error{Status: http.StatusBadRequest, Type: "mapper_parsing_exception", Reason: fmt.Sprintf(format, args...)}
}

// propertiesMax bounds the fields of a mapping, as those of a split are bounded.
const propertiesMax = textindex.FieldsMaxDefault

func (d *definition) properties(text []byte, path string) error {
	o, err := readObject(text, "properties")
	if err != nil {
		return err
	}
	for _, name := range slices.Sorted(maps.Keys(o)) {
		if name == "" {
			return mapperError("a field's name must not be empty")
		}
		if err := d.property(path+name, o[name]); err != nil {
			return err
		}
	}
	return nil
}

// typesOf are the types that fields may be given, and what each means here.
var typesOf = map[string]string{
	"text": "text", "keyword": "keyword", "boolean": "boolean", "date": "date", "geo_point": "geo_point",
	"long": "long", "integer": "long", "short": "long", "byte": "long",
	"double": "double", "float": "double", "half_float": "double",
}

// asUsual are members of a property that say what is so anyway.
var asUsual = map[string]string{
	"index": "true", "store": "false", "doc_values": "true", "norms": "true", "enabled": "true", "dynamic": "true", "coerce": "true",
	"ignore_malformed": "true", "index_options": "positions", "eager_global_ordinals": "false", "ignore_above": strconv.Itoa(textindex.KeywordBytesMax),
	"format": "strict_date_optional_time||epoch_millis",
}

func (d *definition) property(path string, text []byte) error {
	o, err := readObject(text, path)
	if err != nil {
		return err
	}
	value := func(name string) string { return strings.Trim(string(bytes.TrimSpace(o[name])), `"`) }
	kind := "object"
	if o["type"] != nil {
		kind = value("type")
	}
	if kind != "object" && typesOf[kind] == "" {
		return mapperError("The type [%s] of field [%s] is not supported: there are %s", kind, path, strings.Join(slices.Sorted(maps.Keys(typesOf)), ", "))
	}
	keyword := false
	for _, name := range slices.Sorted(maps.Keys(o)) {
		usual, known := asUsual[name]
		switch {
		case name == "type":
		case name == "properties" && kind == "object":
			err = d.properties(o[name], path+".")
		case name == "fields" && kind == "text":
			keyword, err = true, onlyKeyword(o[name], path)
		case (name == "analyzer" || name == "search_analyzer") && kind == "text":
			err = d.analyze(value(name), path)
		case known && value(name) == usual:
		default:
			err = mapperError("[%s] of field [%s] with value %s is not supported", name, path, o[name])
		}
		if err != nil {
			return err
		}
	}
	if kind == "object" {
		return nil
	}
	if d.fields = append(d.fields, path); len(d.fields) > propertiesMax {
		return mapperError("Limit of total fields [%d] has been exceeded", propertiesMax)
	}
	if !keyword { // a text with a keyword beside it is what a text is anyway
		d.types[path] = typesOf[kind]
	}
	return nil
}

// onlyKeyword reads the fields beside a text. There can be one: its keyword.
func onlyKeyword(text []byte, path string) error {
	o, err := readObject(text, "fields")
	if err != nil {
		return err
	}
	for name, sub := range o {
		var field struct {
			Type        string `json:"type"`
			IgnoreAbove *int   `json:"ignore_above"`
		}
		decoder := json.NewDecoder(bytes.NewReader(sub))
		decoder.DisallowUnknownFields()
		if decoder.Decode(&field) != nil || name != "keyword" || field.Type != "keyword" || field.IgnoreAbove != nil && *field.IgnoreAbove != textindex.KeywordBytesMax {
			return mapperError("[fields.%s] of field [%s] is not supported: a text has the field [keyword] of type [keyword], with [ignore_above] %d", name, path, textindex.KeywordBytesMax)
		}
	}
	return nil
}

// analyzers are Elasticsearch's that there are here, by their names here.
var analyzers = map[string]string{
	"standard": "standard", "simple": "simple", "keyword": "keyword", "arabic": "ar", "danish": "da", "german": "de", "english": "en", "spanish": "es",
	"finnish": "fi", "french": "fr", "irish": "ga", "hungarian": "hu", "italian": "it", "dutch": "nl", "norwegian": "no", "portuguese": "pt",
	"romanian": "ro", "russian": "ru", "swedish": "sv", "turkish": "tr",
}

// analyze: texts of a topic have one analyzer.
func (d *definition) analyze(name, path string) error {
	ours, known := analyzers[name]
	switch {
	case !known:
		return mapperError("analyzer [%s] has not been configured in mappings: there are %s", name, strings.Join(slices.Sorted(maps.Keys(analyzers)), ", "))
	case d.analyzer != "" && d.analyzer != ours:
		return mapperError("field [%s] has the analyzer [%s], and another field another one: all texts of an index have one", path, name)
	}
	d.analyzer = ours
	return nil
}
