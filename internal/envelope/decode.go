package envelope

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"reflect"
	"strings"
)

// Invalid is the failure of a request that makes no sense.
func Invalid(format string, args ...any) *Failure {
	return New(400, "INVALID_REQUEST", "InvalidRequest", fmt.Sprintf(format, args...))
}

// Decode reads the one JSON value that a request's body is into v. A member that v
// does not have is named, and so is one of another type: what a client asks for is
// never passed over. The error is a *Failure.
func Decode(body []byte, v any) error {
	decoder := json.NewDecoder(bytes.NewReader(body))
	decoder.DisallowUnknownFields()
	err := decoder.Decode(v)
	var wrong *json.UnmarshalTypeError
	var said *Failure // of a member that reads itself
	switch {
	case errors.As(err, &said):
		return said
	case errors.Is(err, io.EOF):
		return Invalid("the body is empty, JSON is expected")
	case errors.As(err, &wrong) && wrong.Field != "":
		return Invalid("%s has to be %s, not %s", member(reflect.TypeOf(v), wrong.Field), wanted(wrong.Type), wrong.Value)
	case errors.As(err, &wrong) && wrong.Type == reflect.TypeOf(v).Elem():
		return Invalid("the body is JSON, but it has to be %s, not %s", wanted(wrong.Type), wrong.Value)
	case err != nil:
		return Invalid("the body is not the JSON that is expected: %s", strings.TrimPrefix(err.Error(), "json: "))
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return Invalid("the body has more than one JSON value")
	}
	return nil
}

// member is the path of a member as the client wrote it: without the structs that
// are embedded on the way, which package json names too.
func member(t reflect.Type, path string) string {
	var written []string
	for name := range strings.SplitSeq(path, ".") {
		for t.Kind() == reflect.Pointer || t.Kind() == reflect.Slice || t.Kind() == reflect.Map {
			t = t.Elem()
		}
		var embedded bool
		if t.Kind() == reflect.Struct {
			for _, f := range reflect.VisibleFields(t) {
				tag, _, _ := strings.Cut(f.Tag.Get("json"), ",")
				if tag == name || tag == "" && f.Name == name {
					t, embedded = f.Type, f.Anonymous && tag == ""
					break
				}
			}
		}
		if !embedded {
			written = append(written, name)
		}
	}
	return strings.Join(written, ".")
}

// wanted is what JSON calls the values of a type.
func wanted(t reflect.Type) string {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	switch t.Kind() {
	case reflect.Bool:
		return "true or false"
	case reflect.String:
		return "a text"
	case reflect.Float32, reflect.Float64:
		return "a number in the range of " + t.Kind().String()
	case reflect.Slice, reflect.Array:
		return "an array"
	case reflect.Struct, reflect.Map:
		return "an object"
	}
	return "an integer in the range of " + t.Kind().String()
}
