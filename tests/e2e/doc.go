// Package e2e drives the built binary from outside, as its users do: with kcat,
// with franz-go, with curl's kind of HTTP, and with kill -9.
//
// `make e2e` builds the binary and runs it. CHRONIK_BIN names another binary,
// CHRONIK_TESTDATA the folder with the real data (wikiticker, elastic-examples),
// without which those tests are skipped with that reason. Nothing here imports
// the product, but for objtest, which starts MinIO: what a test knows, it was
// told over the wire.
package e2e
