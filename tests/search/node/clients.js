// Drives Elasticsearch's client for JavaScript, with its own helpers. Each check
// is one line of JSON on standard output.
'use strict'
const assert = require('node:assert')
const { Client, errors } = require('@elastic/elasticsearch')
const { version } = require('@elastic/elasticsearch/package.json')

const client = new Client({ node: `http://${process.env.SEARCH_ADDRESS}`, requestTimeout: 60_000, maxRetries: 0 })
const index = 'js-logs'
const total = 1200
const began = Date.parse('2026-11-01T00:00:00Z')
const levels = ['info', 'warn', 'error']
const documents = Array.from({ length: total }, (_, n) => ({
  n,
  message: `request ${n} finished ${n % 7 === 0 ? 'slowly' : 'quickly'}`,
  level: levels[n % 3],
  took: n % 100,
  '@timestamp': new Date(began + n * 60_000).toISOString(),
  place: n % 2 ? { lat: 52.5, lon: 13.4 } : { lat: 48.1, lon: 11.6 }
}))

async function check (name, run) {
  const result = { client: '@elastic/elasticsearch', version, check: name, ok: true, detail: '' }
  try {
    result.detail = String(await run() ?? '')
  } catch (e) {
    result.ok = false
    result.detail = String(e instanceof errors.ResponseError ? JSON.stringify(e.meta.body) : e.stack)
  }
  console.log(JSON.stringify(result))
}

async function refused (call, status, type, named) {
  try {
    await call()
  } catch (e) {
    assert(e instanceof errors.ResponseError, e)
    assert.equal(e.statusCode, status)
    const error = e.body.error ?? {}
    if (type) assert.equal(error.type, type)
    if (named) assert(JSON.stringify(e.body).includes(named), JSON.stringify(e.body))
    return
  }
  assert.fail('it was not refused')
}

async function main () {
  await check('the server says what it is', async () => {
    const info = await client.info()
    assert.equal(info.tagline, 'You Know, for Search')
    assert(info.version.number.startsWith('9.'))
    assert.equal((await client.ping()), true)
    return info.version.number
  })
  await check('an index is created with a mapping, once', async () => {
    const made = await client.indices.create({
      index,
      mappings: { properties: { place: { type: 'geo_point' }, took: { type: 'long' }, level: { type: 'keyword' } } }
    })
    assert.equal(made.acknowledged, true)
    assert.equal(await client.indices.exists({ index }), true)
    assert.equal(await client.indices.exists({ index: 'js-nowhere' }), false)
    await refused(() => client.indices.create({ index }), 400, 'resource_already_exists_exception')
  })
  await check('helpers.bulk writes all documents', async () => {
    const stats = await client.helpers.bulk({
      datasource: documents, flushBytes: 20_000, concurrency: 3, refreshOnCompletion: index,
      onDocument: () => ({ index: { _index: index } }),
      onDrop: dropped => assert.fail(JSON.stringify(dropped))
    })
    assert.equal(stats.successful, total)
    assert.equal(stats.failed, 0)
    return `${stats.bytes} bytes`
  })
  await check('what was written is counted at once', async () => {
    assert.equal((await client.count({ index })).count, total)
    assert.equal((await client.count({ index, query: { match: { message: 'slowly' } } })).count, documents.filter(d => d.n % 7 === 0).length)
  })
  await check('documents are found and shown', async () => {
    const found = await client.search({
      index, query: { bool: { must: { match_phrase: { message: 'request 77' } }, filter: { term: { level: 'error' } } } },
      highlight: { fields: { message: {} } }
    })
    assert.deepEqual(found.hits.total, { value: 1, relation: 'eq' })
    const hit = found.hits.hits[0]
    assert.deepEqual({ ...hit._source, _topic: undefined, _partition: undefined, _offset: undefined, _timestamp: undefined, _key: undefined },
      { ...documents[77], _topic: undefined, _partition: undefined, _offset: undefined, _timestamp: undefined, _key: undefined })
    assert.match(hit.highlight.message[0], /<em>77<\/em>/)
    assert.equal(found._shards.failed, 0)
  })
  await check('every kind of query finds what it says', async () => {
    for (const [query, holds] of [
      [{ range: { took: { gte: 10, lt: 20 } } }, d => d.took >= 10 && d.took < 20],
      [{ range: { '@timestamp': { gte: '2026-11-01T05:00:00Z', lt: '2026-11-01T06:00:00Z' } } }, d => Math.floor(d.n / 60) === 5],
      [{ terms: { level: ['warn', 'error'] } }, d => d.level !== 'info'],
      [{ prefix: { message: 'slow' } }, d => d.n % 7 === 0],
      [{ wildcard: { message: '*ickly' } }, d => d.n % 7 !== 0],
      [{ regexp: { level: 'w.*|e.*' } }, d => d.level !== 'info'],
      [{ fuzzy: { message: { value: 'slowli' } } }, d => d.n % 7 === 0],
      [{ query_string: { query: 'message:slowly AND NOT level:info' } }, d => d.n % 7 === 0 && d.level !== 'info'],
      [{ simple_query_string: { query: 'slowly -quickly', fields: ['message'], default_operator: 'and' } }, d => d.n % 7 === 0],
      [{ multi_match: { query: 'slowly', fields: ['message', 'level'] } }, d => d.n % 7 === 0],
      [{ exists: { field: 'place' } }, () => true],
      [{ geo_distance: { distance: '50km', place: { lat: 52.4, lon: 13.3 } } }, d => d.n % 2 === 1],
      [{ bool: { must_not: [{ term: { level: 'info' } }], should: [{ range: { n: { lt: 5 } } }, { range: { n: { gte: 1195 } } }], minimum_should_match: 1 } }, d => d.level !== 'info' && (d.n < 5 || d.n >= 1195)]
    ]) {
      const found = await client.search({ index, query, size: 2000, track_total_hits: true, _source: ['n'] })
      const got = found.hits.hits.map(h => h._source.n).sort((a, b) => a - b)
      assert.deepEqual(got, documents.filter(holds).map(d => d.n), JSON.stringify(query))
    }
  })
  await check('paging by search_after shows everything once', async () => {
    const seen = []
    let after
    for (;;) {
      const page = await client.search({ index, size: 170, sort: [{ took: 'desc' }, { n: 'asc' }], search_after: after, _source: false })
      if (page.hits.hits.length === 0) break
      for (const h of page.hits.hits) seen.push(h.sort)
      after = page.hits.hits.at(-1).sort
    }
    const want = documents.map(d => [d.took, d.n]).sort((a, b) => b[0] - a[0] || a[1] - b[1])
    assert.deepEqual(seen, want)
    return `${seen.length} hits`
  })
  await check('aggregations nest, and their sums are right', async () => {
    const answer = await client.search({
      index, size: 0,
      aggs: {
        levels: { terms: { field: 'level' }, aggs: { took: { avg: { field: 'took' } }, slowest: { top_hits: { size: 1, sort: [{ took: 'desc' }, { n: 'asc' }] } } } },
        hours: { date_histogram: { field: '@timestamp', calendar_interval: 'hour' } },
        spread: { percentiles: { field: 'took' } }, different: { cardinality: { field: 'took' } }, all: { extended_stats: { field: 'n' } }
      }
    })
    const { levels: byLevel, hours, different, all, spread } = answer.aggregations
    assert.deepEqual(byLevel.buckets.map(b => [b.key, b.doc_count]), [['error', 400], ['info', 400], ['warn', 400]])
    for (const b of byLevel.buckets) {
      const of = documents.filter(d => d.level === b.key)
      assert(Math.abs(b.took.value - of.reduce((s, d) => s + d.took, 0) / of.length) < 1e-9)
      assert.equal(b.slowest.hits.hits[0]._source.took, Math.max(...of.map(d => d.took)))
    }
    assert.equal(hours.buckets.length, 20)
    assert(hours.buckets.every(b => b.doc_count === 60))
    assert.equal(different.value, 100)
    assert.equal(all.sum, total * (total - 1) / 2)
    assert(Math.abs(spread.values['50.0'] - 49.5) < 2)
  })
  await check('helpers.msearch asks several at once', async () => {
    const searches = client.helpers.msearch()
    const answers = await Promise.all(levels.map(level => searches.search({ index }, { query: { term: { level } }, size: 3 })))
    for (const a of answers) {
      assert.equal(a.body.hits.total.value, 400)
      assert.equal(a.documents.length, 3)
    }
    await assert.rejects(searches.search({ index: 'js-nowhere' }, { query: { match_all: {} } }))
    searches.stop()
  })
  await check('a document is read by its id', async () => {
    const written = await client.index({ index, document: { message: 'one more' }, refresh: 'wait_for' })
    assert.equal(written.result, 'created')
    const got = await client.get({ index, id: written._id })
    assert.equal(got.found, true)
    assert.equal(got._source.message, 'one more')
    assert.equal((await client.search({ index, query: { match: { message: 'one more' } } })).hits.hits[0]._id, written._id)
    assert.equal(await client.exists({ index, id: `${index}-0-99999999` }), false)
    await refused(() => client.get({ index, id: `${index}-0-99999999` }), 404)
  })
  await check('what is not supported is refused by name', async () => {
    await refused(() => client.search({ index: 'js-nowhere' }), 404, 'index_not_found_exception', 'js-nowhere')
    await refused(() => client.search({ index, query: { more_like_this: { like: 'x' } } }), 400, null, 'more_like_this')
    await refused(() => client.search({ index, query: { range: { took: { gte: 'many' } } } }), 400)
    await refused(() => client.delete({ index, id: `${index}-0-1` }), 405)
    await refused(() => client.update({ index, id: `${index}-0-1`, doc: { n: 1 } }), 405)
    await refused(() => client.search({ index, scroll: '1m' }), 400, null, 'scroll')
    const mixed = await client.bulk({ operations: [{ index: { _index: index } }, { n: -1 }, { delete: { _index: index, _id: 'x' } }] })
    assert.equal(mixed.errors, true)
    assert.equal(mixed.items[0].index.status, 201)
    assert.equal(mixed.items[1].delete.status, 405)
  })
  await check('indexes are listed, described and deleted', async () => {
    const [row] = await client.cat.indices({ index, format: 'json' })
    assert.equal(row['docs.count'], String(total + 2))
    const { properties } = (await client.indices.getMapping({ index }))[index].mappings
    assert.equal(properties.place.type, 'geo_point')
    assert.equal(properties.took.type, 'long')
    assert.notEqual((await client.cluster.health()).status, 'red')
    assert.equal((await client.search({ index: 'js-*,-js-nothing', ignore_unavailable: true, size: 0 })).hits.total.value, total + 2)
    assert.equal((await client.indices.delete({ index })).acknowledged, true)
    assert.equal(await client.indices.exists({ index }), false)
  })
}

main().then(() => client.close())
