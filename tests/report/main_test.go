package main

import (
	"strings"
	"testing"
)

func TestReportShowsFailuresAndSkipsAndFails(t *testing.T) {
	const in = `{"Action":"run","Package":"github.com/chronik-stream/chronik/a","Test":"TestOne"}
{"Action":"output","Package":"github.com/chronik-stream/chronik/a","Test":"TestOne","Output":"    a_test.go:1: noise\n"}
{"Action":"pass","Package":"github.com/chronik-stream/chronik/a","Test":"TestOne","Elapsed":0.5}
{"Action":"output","Package":"github.com/chronik-stream/chronik/a","Test":"TestTwo","Output":"    a_test.go:2: no such tool\n"}
{"Action":"output","Package":"github.com/chronik-stream/chronik/a","Test":"TestTwo","Output":"--- SKIP: TestTwo (0.00s)\n"}
{"Action":"skip","Package":"github.com/chronik-stream/chronik/a","Test":"TestTwo"}
{"Action":"output","Package":"github.com/chronik-stream/chronik/a","Test":"TestThree","Output":"    a_test.go:3: it broke\n"}
{"Action":"fail","Package":"github.com/chronik-stream/chronik/a","Test":"TestThree","Elapsed":1}
{"Action":"fail","Package":"github.com/chronik-stream/chronik/a","Elapsed":2}
{"Action":"skip","Package":"github.com/chronik-stream/chronik/b","Elapsed":0}
go: something else
`
	var out strings.Builder
	failed, err := report(strings.NewReader(in), &out, false)
	if err != nil || !failed {
		t.Errorf("failed %v, %v", failed, err)
	}
	want := "FAIL  a TestThree (1s)\n    a_test.go:3: it broke\nFAIL  a  (2s)\ngo: something else\nskipped: a TestTwo: a_test.go:2: no such tool\nfailed: a TestThree: a_test.go:3: it broke\n1 passed, 1 failed, 1 skipped\n"
	if out.String() != want {
		t.Errorf("got\n%swant\n%s", out.String(), want)
	}
}

func TestReportOfGoodTestsIsShort(t *testing.T) {
	const in = `{"Action":"pass","Package":"github.com/chronik-stream/chronik/a","Test":"TestOne","Elapsed":0.5}
{"Action":"pass","Package":"github.com/chronik-stream/chronik/a","Elapsed":0.6}
`
	var out strings.Builder
	if failed, err := report(strings.NewReader(in), &out, false); failed || err != nil {
		t.Errorf("failed %v, %v", failed, err)
	}
	if want := "ok    a (600ms)\n1 passed, 0 failed, 0 skipped\n"; out.String() != want {
		t.Errorf("got %q", out.String())
	}
}

func TestALongComplaintKeepsItsEnd(t *testing.T) {
	said := "    a_test.go:7: on its way\n" + "    what a server logged\n" + "    a_test.go:9: " + strings.Repeat("ä", complaintsMax) + " is the end\n"
	got := complaints(said)
	if len(got) > complaintsMax+len("…") || !strings.HasSuffix(got, " is the end") || strings.Contains(got, "on its way") {
		t.Errorf("%d bytes: %s", len(got), got)
	}
}
