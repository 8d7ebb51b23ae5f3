package main

import (
	"io"
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
	failed, err := report(strings.NewReader(in), &out, false, never)
	if err != nil || !failed {
		t.Errorf("failed %v, %v", failed, err)
	}
	want := "FAIL  a TestThree (1s)\n    a_test.go:3: it broke\nFAIL  a  (2s)\ngo: something else\nskipped: a TestTwo: a_test.go:2: no such tool\nfailed: a TestThree: a_test.go:3: it broke\n1 passed, 1 failed, 0 unsteady, 1 skipped\n"
	if out.String() != want {
		t.Errorf("got\n%swant\n%s", out.String(), want)
	}
}

func TestReportOfGoodTestsIsShort(t *testing.T) {
	const in = `{"Action":"pass","Package":"github.com/chronik-stream/chronik/a","Test":"TestOne","Elapsed":0.5}
{"Action":"pass","Package":"github.com/chronik-stream/chronik/a","Elapsed":0.6}
`
	var out strings.Builder
	if failed, err := report(strings.NewReader(in), &out, false, never); failed || err != nil {
		t.Errorf("failed %v, %v", failed, err)
	}
	if want := "ok    a (600ms)\n1 passed, 0 failed, 0 unsteady, 0 skipped\n"; out.String() != want {
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

func never(key, io.Writer) bool { return false }

// failing is the output of a package in which tests fail and say something.
func failing(pkg, says string, tests ...string) string {
	var out strings.Builder
	for _, test := range tests {
		out.WriteString(`{"Action":"output","Package":"` + pkg + `","Test":"` + test + `","Output":"` + says + `\n"}` + "\n")
		out.WriteString(`{"Action":"fail","Package":"` + pkg + `","Test":"` + test + `"}` + "\n")
	}
	return out.String() + `{"Action":"fail","Package":"` + pkg + `"}` + "\n"
}

func TestATestThatPassesAloneIsUnsteady(t *testing.T) {
	var tried []string
	again := func(k key, _ io.Writer) bool {
		tried = append(tried, k.test)
		return true
	}
	var out strings.Builder
	failed, err := report(strings.NewReader(failing("x/a", "a_test.go:3: late", "TestOne/part", "TestOne")), &out, false, again)
	if failed || err != nil || strings.Join(tried, " ") != "TestOne" {
		t.Errorf("failed %v, %v, tried %q", failed, err, tried)
	}
	for _, want := range []string{"FAIL  x/a TestOne", "UNSTEADY", "a_test.go:3: late", "0 passed, 0 failed, 2 unsteady, 0 skipped"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("%q is missing in\n%s", want, out.String())
		}
	}
}

func TestWhatIsNotTriedAgainFails(t *testing.T) {
	for name, in := range map[string]string{
		"a broken promise":  failing("x/tests/sim", "a_test.go:3: lost", "TestOne"),
		"a panic":           failing("x/a", "panic: nil map", "TestOne"),
		"a data race":       failing("x/a", "WARNING: DATA RACE", "TestOne"),
		"many":              failing("x/a", "late", "TestOne", "TestTwo", "TestThree"),
		"many, in packages": failing("x/a", "late", "TestOne", "TestTwo") + failing("x/b", "late", "TestOne"),
		"no test":           failing("x/a", ""),
		"a package beside":  failing("x/a", "late", "TestOne") + failing("x/b", ""),
	} {
		again := func(key, io.Writer) bool {
			t.Errorf("%s: tried again", name)
			return true
		}
		if failed, err := report(strings.NewReader(in), io.Discard, false, again); !failed || err != nil {
			t.Errorf("%s: failed %v, %v", name, failed, err)
		}
	}
}

func TestATestThatFailsAgainFails(t *testing.T) {
	var out strings.Builder
	failed, err := report(strings.NewReader(failing("x/a", "late", "TestOne")), &out, false, never)
	if !failed || err != nil || strings.Contains(out.String(), "UNSTEADY") {
		t.Errorf("failed %v, %v:\n%s", failed, err, out.String())
	}
}

func TestTestsThatDoNotEndFail(t *testing.T) {
	for name, in := range map[string]string{
		"nothing":  "go: no such package\n",
		"a killed": `{"Action":"start","Package":"x/a"}` + "\n" + `{"Action":"start","Package":"x/b"}` + "\n" + `{"Action":"pass","Package":"x/a"}` + "\n",
	} {
		if failed, err := report(strings.NewReader(in), io.Discard, false, never); !failed || err == nil {
			t.Errorf("%s: failed %v, %v", name, failed, err)
		}
	}
}
