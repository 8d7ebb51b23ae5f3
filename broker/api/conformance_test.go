package api_test

import (
	"encoding/binary"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/chronik-stream/chronik/broker/api"
	"github.com/chronik-stream/chronik/internal/topic"
)

// These tests go over the protocol table itself, so an API is under them from
// the moment it is registered: each needs a sample().

// apiName is Kafka's name of an API.
func apiName(key int16) string { return kmsg.NameForKey(key) }

// eachVersion runs f for every version of every API that the server advertises.
func eachVersion(t *testing.T, f func(t *testing.T, key, version int16)) {
	t.Helper()
	s := serve(t, api.Config{})
	req := kmsg.NewPtrApiVersionsRequest()
	for _, k := range s.raw(t).ask(req).(*kmsg.ApiVersionsResponse).ApiKeys {
		t.Run(apiName(k.ApiKey), func(t *testing.T) {
			for version := k.MinVersion; version <= k.MaxVersion; version++ {
				f(t, k.ApiKey, version)
			}
		})
	}
}

// sampleOf is the sample of an API at a version.
func sampleOf(t *testing.T, key, version int16, id topic.ID) kmsg.Request {
	t.Helper()
	req := sample(key, "t", id)
	require.NotNil(t, req, "sample() has no request for %s (%d)", apiName(key), key)
	require.Equal(t, key, req.Key())
	req.SetVersion(version)
	return req
}

// write sends a request whose parts are given: kmsg's own formatter writes no
// tags in a header, and no body that is not whole.
func (c *raw) write(key, version int16, correlation int32, clientID *string, tags, body []byte) {
	c.t.Helper()
	frame := make([]byte, 4, 64+len(body))
	frame = binary.BigEndian.AppendUint16(frame, uint16(key))
	frame = binary.BigEndian.AppendUint16(frame, uint16(version))
	frame = binary.BigEndian.AppendUint32(frame, uint32(correlation))
	if clientID == nil {
		frame = append(frame, 0xff, 0xff)
	} else {
		frame = binary.BigEndian.AppendUint16(frame, uint16(len(*clientID)))
		frame = append(frame, *clientID...)
	}
	frame = append(append(frame, tags...), body...)
	binary.BigEndian.PutUint32(frame, uint32(len(frame)-4))
	_, err := c.conn.Write(frame)
	require.NoError(c.t, err)
}

// headerTags is the end of a request header of that request: no tags, where
// there can be some.
func headerTags(req kmsg.Request) []byte {
	if req.IsFlexible() {
		return []byte{0}
	}
	return nil
}

// visit calls f for every struct in v, with the path to it.
func visit(v reflect.Value, path string, f func(v reflect.Value, path string)) {
	switch v.Kind() {
	case reflect.Pointer:
		if !v.IsNil() {
			visit(v.Elem(), path, f)
		}
	case reflect.Slice:
		for i := range v.Len() {
			visit(v.Index(i), fmt.Sprintf("%s[%d]", path, i), f)
		}
	case reflect.Struct:
		f(v, path)
		for i := range v.NumField() {
			if field := v.Type().Field(i); field.IsExported() && field.Name != "UnknownTags" {
				visit(v.Field(i), path+"."+field.Name, f)
			}
		}
	}
}

// codesOf returns every error code of a response, by its path.
func codesOf(resp kmsg.Response) map[string]string {
	codes := make(map[string]string)
	visit(reflect.ValueOf(resp), "", func(v reflect.Value, path string) {
		if code := v.FieldByName("ErrorCode"); code.IsValid() {
			codes[path+".ErrorCode"] = codeName(int16(code.Int()))
		}
	})
	return codes
}

func codeName(code int16) string {
	if code == 0 {
		return "NONE"
	}
	return kerr.TypedErrorForCode(code).Message
}

// mayBeNull are the nullable fields in which null is what Kafka says, or says
// in some case. A null anywhere else breaks Java, whose generated classes take
// what the schema calls nullable and whose callers do not.
var mayBeNull = map[string]bool{
	"FetchResponse.Topics.Partitions.AbortedTransactions": true, // read_uncommitted
}

// nulls returns the paths of the arrays and bytes that were null in a response.
// kmsg reads null and empty of what is not nullable as nil both, so it counts
// what is written differently when it is made empty.
func nulls(resp kmsg.Response) []string {
	before := resp.AppendTo(nil)
	var found []string
	visit(reflect.ValueOf(resp), strings.TrimPrefix(reflect.TypeOf(resp).String(), "*kmsg."), func(v reflect.Value, path string) {
		for i := range v.NumField() {
			field := v.Field(i)
			if !v.Type().Field(i).IsExported() || field.Kind() != reflect.Slice || !field.IsNil() {
				continue
			}
			field.Set(reflect.MakeSlice(field.Type(), 0, 0))
			if !slices.Equal(before, resp.AppendTo(nil)) {
				found = append(found, path+"."+v.Type().Field(i).Name)
			}
			field.Set(reflect.Zero(field.Type()))
		}
	})
	return found
}

// unindexed removes the indexes from a path.
func unindexed(path string) string {
	var b strings.Builder
	inside := false
	for _, r := range path {
		switch {
		case r == '[':
			inside = true
		case r == ']':
			inside = false
		case !inside:
			b.WriteRune(r)
		}
	}
	return b.String()
}

// raw.receive has read the answer in its own version, with nothing left over
// and the right header. What is left is what no version of an answer may say.
func TestConformanceEveryVersionIsAnsweredInFull(t *testing.T) {
	eachVersion(t, func(t *testing.T, key, version int16) {
		s := serve(t, api.Config{})
		made := s.topic(t, "t", 2, nil)
		resp := s.raw(t).ask(sampleOf(t, key, version, made.ID))
		for path, code := range codesOf(resp) {
			require.NotEqual(t, kerr.UnknownServerError.Message, code, "version %d: %s: an error of ours has no code", version, path)
		}
		for _, path := range nulls(resp) {
			require.True(t, mayBeNull[unindexed(path)], "version %d: %s is null", version, path)
		}
		visit(reflect.ValueOf(resp), "", func(v reflect.Value, path string) {
			if source := v.FieldByName("Source"); source.IsValid() && source.Type() == reflect.TypeFor[kmsg.ConfigSource]() && version > 0 {
				require.Positive(t, source.Int(), "version %d: %s.Source: Java refuses it", version, path)
			}
			if throttle := v.FieldByName("ThrottleMillis"); throttle.IsValid() {
				require.Zero(t, throttle.Int(), "version %d: %s.ThrottleMillis without a quota", version, path)
			}
		})
	})
}

// A newer client may send tags that we do not know, in the header and in every
// structure of the body. They change nothing.
func TestConformanceUnknownTagsAreSkippedEverywhere(t *testing.T) {
	eachVersion(t, func(t *testing.T, key, version int16) {
		answer := func(tagged bool) map[string]string {
			s := serve(t, api.Config{})
			made := s.topic(t, "t", 2, nil)
			req := sampleOf(t, key, version, made.ID)
			if !req.IsFlexible() {
				return nil
			}
			header, structs := []byte{0}, 0
			if tagged {
				header = []byte{2, 5, 3, 'a', 'b', 'c', 0x80, 0x01, 0}
				visit(reflect.ValueOf(req), "", func(v reflect.Value, _ string) {
					tags, ok := v.FieldByName("UnknownTags").Addr().Interface().(*kmsg.Tags)
					require.True(t, ok)
					tags.Set(100, []byte("from the future"))
					tags.Set(1<<20, nil)
					structs++
				})
				require.Positive(t, structs)
			}
			c := s.raw(t)
			c.write(key, version, 42, nil, header, req.AppendTo(nil))
			return codesOf(c.receive(req, 42))
		}
		require.Equal(t, answer(false), answer(true), "version %d", version)
	})
}

// A client id may be null, empty or as long as it can be; a correlation id is
// any number, and comes back.
func TestConformanceHeadersOfEveryKind(t *testing.T) {
	empty, long := "", strings.Repeat("x", 1<<15-1)
	eachVersion(t, func(t *testing.T, key, version int16) {
		for _, header := range []struct {
			correlation int32
			clientID    *string
		}{{-1, nil}, {-1 << 31, &empty}, {0, &long}} {
			s := serve(t, api.Config{}) // a second member of a group would wait for the first
			made := s.topic(t, "t", 2, nil)
			c := s.raw(t)
			req := sampleOf(t, key, version, made.ID)
			c.write(key, version, header.correlation, header.clientID, headerTags(req), req.AppendTo(nil))
			c.receive(req, header.correlation)
		}
	})
}

// A request that ends anywhere before its end closes the connection, and nothing
// is said: whatever could be answered would be an answer to something else.
func TestConformanceATruncatedRequestClosesTheConnection(t *testing.T) {
	eachVersion(t, func(t *testing.T, key, version int16) {
		s := serve(t, api.Config{})
		req := sampleOf(t, key, version, topic.ID{1})
		body := req.AppendTo(nil)
		for cut := range min(len(body), 300) {
			c := s.raw(t)
			c.write(key, version, 1, nil, headerTags(req), body[:cut])
			c.closed()
			require.NoError(t, c.conn.Close())
			if t.Failed() {
				t.Fatalf("version %d cut to %d of %d bytes", version, cut, len(body))
			}
		}
	})
}

// Bytes that are wrong in places make an answer or an end, soon, and no harm to
// the next connection. What is sent is drawn from the version, so a failure repeats.
func TestConformanceWrongBytesAreAnsweredOrRefused(t *testing.T) {
	s := serve(t, api.Config{PartitionsMax: 100})
	made := s.topic(t, "t", 2, nil)
	eachVersion(t, func(t *testing.T, key, version int16) {
		req := sampleOf(t, key, version, made.ID)
		random := rand.New(rand.NewPCG(uint64(key), uint64(version)))
		for range 20 {
			body := req.AppendTo(nil)
			for range 1 + random.IntN(4) {
				if len(body) > 0 {
					body[random.IntN(len(body))] = byte([]int{0, 1, 0x7f, 0x80, 0xff, random.IntN(256)}[random.IntN(6)])
				}
			}
			c := s.raw(t)
			c.write(key, version, 1, nil, headerTags(req), body)
			require.NoError(t, c.conn.(interface{ CloseWrite() error }).CloseWrite())
			c.drained(fmt.Sprintf("version %d, body %x", version, body))
		}
		c := s.raw(t)
		metadata := kmsg.NewPtrMetadataRequest()
		metadata.Version = 9
		require.Zero(t, c.ask(metadata).(*kmsg.MetadataResponse).ErrorCode, "the server goes on")
	})
}

// drained reads until the server has ended the connection, and checks that what
// came are whole frames.
func (c *raw) drained(what string) {
	c.t.Helper()
	require.NoError(c.t, c.conn.SetReadDeadline(time.Now().Add(time.Minute)))
	var size [4]byte
	for {
		n, err := io.ReadFull(c.r, size[:])
		if n == 0 {
			var timeout net.Error
			require.False(c.t, errorsAsTimeout(err, &timeout), "neither an answer nor an end: %s", what)
			return
		}
		require.NoError(c.t, err, what)
		_, err = io.ReadFull(c.r, make([]byte, binary.BigEndian.Uint32(size[:])))
		require.NoError(c.t, err, what)
	}
}

// The longest strings that there can be come back whole where they come back:
// what quotes them, or is made of them, has no longer string to be in.
func TestConformanceTheLongestStringsAreAnswered(t *testing.T) {
	long := strings.Repeat("x", 1<<15-1)
	eachVersion(t, func(t *testing.T, key, version int16) {
		fields := 0
		for i := 0; i <= fields; i++ { // one string at a time, and at the end all
			s := serve(t, api.Config{})
			made := s.topic(t, "t", 2, nil)
			req := sampleOf(t, key, version, made.ID)
			n, names := 0, ""
			replace := func(v reflect.Value, name string) {
				if i == fields && i > 0 || i == n {
					v.SetString(long)
					names += " " + name
				}
				n++
			}
			visit(reflect.ValueOf(req), "", func(v reflect.Value, path string) {
				for j := range v.NumField() {
					field, name := v.Field(j), path+"."+v.Type().Field(j).Name
					switch {
					case field.Kind() == reflect.String:
						replace(field, name)
					case field.Kind() == reflect.Pointer && field.Type().Elem().Kind() == reflect.String && !field.IsNil():
						field.Set(reflect.New(field.Type().Elem()))
						replace(field.Elem(), name)
					case field.Kind() == reflect.Slice && field.Type().Elem().Kind() == reflect.String:
						for k := range field.Len() {
							replace(field.Index(k), name)
						}
					}
				}
			})
			fields = n
			if fields == 0 {
				return
			}
			c := s.raw(t)
			resp := c.ask(req)
			for path, code := range codesOf(resp) {
				require.NotEqual(t, kerr.UnknownServerError.Message, code, "version %d with long%s: %s", version, names, path)
			}
		}
	})
}

// A version that is not advertised is never parsed: the connection ends, as
// Kafka's does; ApiVersions alone is answered, in version 0.
func TestConformanceVersionsOutsideTheTableAreRefused(t *testing.T) {
	s := serve(t, api.Config{})
	req := kmsg.NewPtrApiVersionsRequest()
	for _, k := range s.raw(t).ask(req).(*kmsg.ApiVersionsResponse).ApiKeys {
		for _, version := range []int16{-1 << 15, -1, k.MinVersion - 1, k.MaxVersion + 1, 1<<15 - 1} {
			req := sampleOf(t, k.ApiKey, k.MaxVersion, topic.ID{1})
			c := s.raw(t)
			c.write(k.ApiKey, version, 7, nil, headerTags(req), req.AppendTo(nil))
			if k.ApiKey != 18 {
				c.closed()
				continue
			}
			body := c.frame()
			require.Equal(t, int32(7), int32(binary.BigEndian.Uint32(body)))
			resp := kmsg.NewPtrApiVersionsResponse()
			require.NoError(t, resp.ReadFrom(body[4:]))
			require.Equal(t, body[4:], resp.AppendTo(nil))
			require.Equal(t, kerr.UnsupportedVersion.Code, resp.ErrorCode)
		}
	}
}

// Keys between the served ones, and beyond them, end the connection.
func TestConformanceKeysOutsideTheTableAreRefused(t *testing.T) {
	s := serve(t, api.Config{})
	served := make(map[int16]bool)
	for _, k := range s.raw(t).ask(kmsg.NewPtrApiVersionsRequest()).(*kmsg.ApiVersionsResponse).ApiKeys {
		served[k.ApiKey] = true
	}
	for key := int16(-2); key < 128; key++ {
		if !served[key] {
			c := s.raw(t)
			c.write(key, 0, 1, nil, nil, make([]byte, 64))
			c.closed()
		}
	}
}
