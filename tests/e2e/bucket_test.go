package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/chronik-stream/chronik/objstore/objtest"
)

// TestDevRunsAgainstABucket runs the command of the README with the keys that
// MinIO has when nobody sets others.
func TestDevRunsAgainstABucket(t *testing.T) {
	minio := objtest.StartMinIO(t)
	env := []string{"OBJECT_STORE_BACKEND=s3", "S3_ENDPOINT=" + minio.Endpoint, "S3_BUCKET=chronik"}
	c := startIn(t, t.TempDir(), env, "--set", "compactor.first_age=500ms", "--set", "segment.age=200ms")
	c.createTable("t", 3, "durability=object")
	c.produceAll("t", values(5000), nil)
	if n := c.count("SELECT sum(i)::BIGINT FROM t"); n != 5000*4999/2 {
		t.Errorf("sum is %d", n)
	}
	c.coldReaches("t", 5000, shortly)
	if _, err := os.Stat(filepath.Join(c.dir, "bucket")); !os.IsNotExist(err) {
		t.Errorf("there is a folder for a bucket, too: %v", err)
	}
	c.kill()
	c.restart()
	if n := c.count("SELECT sum(i)::BIGINT FROM t_cold"); n != 5000*4999/2 {
		t.Errorf("sum is %d", n)
	}
	records := 0
	for _, list := range c.readAll("t") {
		records += len(list)
	}
	if records != 5000 {
		t.Errorf("%d records", records)
	}
}

// TestABucketThatIsRefusedIsSaidSo: wrong settings end the start with the reason.
func TestABucketThatIsRefusedIsSaidSo(t *testing.T) {
	c := &chronik{t: t}
	for _, test := range []struct {
		args []string
		code int
		want string
	}{
		{[]string{"--set", "objstore.provider=s3"}, 2, "S3_BUCKET"},
		{[]string{"--set", "objstore.provider=gcs"}, 2, "local, s3, aws"},
		{[]string{"--set", "objstore.provider=aws"}, 2, "S3_BUCKET"},
		{[]string{"--set", "objstore.provider=s3", "--set", "objstore.bucket=x", "--set", "objstore.endpoint=http://127.0.0.1:1"}, 1, "127.0.0.1:1"},
		{[]string{"--set", "objstore.provider=aws", "--set", "objstore.bucket=x", "--set", "objstore.endpoint=http://127.0.0.1:1",
			"--set", "objstore.access_key=a", "--set", "objstore.secret_key=b"}, 1, "127.0.0.1:1"},
	} {
		args := append([]string{"dev", "--data", t.TempDir(), "--kafka", "127.0.0.1:0", "--http", "127.0.0.1:0"}, test.args...)
		if _, stderr, code := c.cli("", args...); code != test.code || !strings.Contains(stderr, test.want) {
			t.Errorf("%v: exit %d, %s", test.args, code, stderr)
		}
	}
}
