// The driver of KafkaJS. Its contract with the suite is in ../README.md.
'use strict'
const crypto = require('crypto')
const { Kafka, CompressionTypes, CompressionCodecs, logLevel, ConfigResourceTypes } = require('kafkajs')
const snappy = require('kafkajs-snappy')
const lz4 = require('lz4js')
const xxh32 = require('lz4js/xxh32.js')
const zstd = require('@bokuweb/zstd-wasm')

const { version } = require('kafkajs/package.json')
const env = process.env
const timeout = 90_000 // of one capability
const together = 6

CompressionCodecs[CompressionTypes.Snappy] = snappy
CompressionCodecs[CompressionTypes.LZ4] = () => ({
  // Its frames of one block say that blocks depend on each other, for which
  // Kafka refuses them; the flag is in byte 4, its checksum in byte 6.
  compress: async encoder => {
    const frame = Buffer.from(lz4.compress(encoder.buffer))
    frame[4] |= 0x20
    frame[6] = (xxh32.hash(0, frame, 4, 2) >>> 8) & 0xff
    return frame
  },
  decompress: async buffer => Buffer.from(lz4.decompress(buffer)),
})
CompressionCodecs[CompressionTypes.ZSTD] = () => ({
  compress: async encoder => Buffer.from(zstd.compress(encoder.buffer)),
  decompress: async buffer => Buffer.from(zstd.decompress(buffer)),
})
const codecs = {
  none: CompressionTypes.None, gzip: CompressionTypes.GZIP, snappy: CompressionTypes.Snappy,
  lz4: CompressionTypes.LZ4, zstd: CompressionTypes.ZSTD,
}

const kafka = new Kafka({
  clientId: 'compat-kafkajs', brokers: [env.COMPAT_BOOTSTRAP],
  logLevel: env.COMPAT_LOG ? logLevel.DEBUG : logLevel.NOTHING, logCreator: () => ({ log, namespace }) => console.error(namespace, log.message, JSON.stringify(log)),
})

const sleep = ms => new Promise(resolve => setTimeout(resolve, ms))
const unique = name => `${env.COMPAT_PREFIX || 'compat'}-kafkajs-${name}-${crypto.randomBytes(4).toString('hex')}`
const expect = (ok, message) => { if (!ok) throw new Error(message) }
const equal = (got, want, what) => {
  const [g, w] = [JSON.stringify(got), JSON.stringify(want)]
  expect(g === w, `${what}: ${g && g.slice(0, 300)}, want ${w.slice(0, 300)}`)
}

// until waits until wrong() returns nothing; what it returns last is the error.
async function until(wrong) {
  const began = Date.now()
  for (;;) {
    const problem = await wrong()
    if (!problem) return
    if (Date.now() - began > 40_000) throw new Error(`after 40 s: ${problem}`)
    await sleep(50)
  }
}

// refused tells how a call fails that must fail with one of these types.
async function refused(call, ...types) {
  try {
    await call
  } catch (e) {
    const type = e.type || e.cause?.type || e.errors?.[0]?.type || e.originalError?.type || e.groups?.[0]?.error?.type
    expect(types.includes(type), `${type} (${e.message}), want ${types}`)
    return type
  }
  throw new Error(`no error, want ${types}`)
}

const numbered = (n, from = 0) => Array.from({ length: n }, (_, i) => ({
  key: `key-${from + i}`, value: `value-${from + i}-${'chronik '.repeat(20)}`,
}))
const text = b => (b === null || b === undefined ? null : b.toString())
const plain = m => ({ key: text(m.key), value: text(m.value) })

async function using(client, work) {
  await client.connect()
  try {
    return await work(client)
  } finally {
    await client.disconnect()
  }
}
const admin = work => using(kafka.admin(), work)
const makeTopic = (name, numPartitions = 1, configEntries = []) => admin(async a => {
  const topic = unique(name)
  await a.createTopics({ topics: [{ topic, numPartitions, configEntries }], waitForLeaders: true })
  return topic
})
const produce = (topic, messages, options = {}, send = {}) =>
  using(kafka.producer(options), p => p.send({ topic, messages, ...send }))

// filled is a topic with n numbered records, a second of time apart, round
// robin over its partitions.
async function filled(name, partitions, n) {
  const topic = await makeTopic(name, partitions)
  const start = Date.now() - 3_600_000
  const messages = numbered(n).map((m, i) => ({ ...m, partition: i % partitions, timestamp: String(start + i * 1000) }))
  await produce(topic, messages)
  return { topic, messages }
}

// Member is a consumer in a group, what it owns and what it read.
class Member {
  constructor(group, topics, options = {}) {
    this.consumer = kafka.consumer({ groupId: group, heartbeatInterval: 500, sessionTimeout: 10_000, maxWaitTimeInMs: 500, ...options })
    this.topics = topics
    this.owned = {}
    this.read = []
    this.crashes = []
    this.consumer.on('consumer.group_join', ({ payload }) => { this.owned = payload.memberAssignment; this.joined = payload })
    this.consumer.on('consumer.rebalancing', () => { this.owned = {} })
    this.consumer.on('consumer.crash', ({ payload }) => this.crashes.push(payload.error.message))
  }

  async start(from = true) {
    await this.consumer.connect()
    await this.consumer.subscribe({ topics: this.topics, fromBeginning: from })
    await this.consumer.run({
      autoCommit: true,
      autoCommitThreshold: 1,
      eachMessage: async ({ topic, partition, message }) => { this.read.push({ topic, partition, ...message }) },
    })
    return this
  }

  count() { return Object.values(this.owned).reduce((n, p) => n + p.length, 0) }

  owns(n) { return until(() => this.count() !== n && `owns ${JSON.stringify(this.owned)}, want ${n} partitions (crashes: ${this.crashes})`) }

  has(n) { return until(() => this.read.length < n && `${this.read.length} of ${n} records (crashes: ${this.crashes})`) }

  // KafkaJS uses its connection objects again, and the end of the old socket,
  // come late, would end the new one: whoever connects again waits for it.
  async stop() {
    await this.consumer.disconnect()
    await sleep(200)
  }
}

// read reads n records of a topic from its start in a group of its own.
async function read(topic, n, seek) {
  const m = new Member(unique('reader'), [topic])
  try {
    await m.start()
    if (seek) m.consumer.seek({ topic, ...seek })
    await m.has(n)
    await sleep(100) // one too many would come now
    return m.read
  } finally {
    await m.stop()
  }
}

const sorted = records => [...records].sort((a, b) => (text(a.key) < text(b.key) ? -1 : 1)).map(plain)
const sameSet = (got, want, what) => equal(sorted(got), sorted(want), what)

async function roundTrip(name, messages, options, send) {
  const topic = await makeTopic(name)
  await produce(topic, messages, options, send)
  const got = await read(topic, messages.length)
  equal(got.map(plain), messages.map(plain), 'records')
  return got
}

const acks = n => async name => {
  await roundTrip(name, numbered(100), {}, { acks: n })
  return '100 records'
}

const codec = compression => async name => {
  const got = await roundTrip(name, numbered(1000), {}, { compression })
  const stored = new Set(got.map(m => m.batchContext && m.batchContext.codec).filter(c => c !== undefined))
  return `1000 records${stored.size ? `, codec ${[...stored]}` : ''}`
}

const interchangeRecords = client => Array.from({ length: 100 }, (_, i) => ({
  key: `${client}-${i}`, value: `${client}-${i}-${'x'.repeat(200)}`, headers: { compat: client },
}))

const capabilities = {
  'acks-0': acks(0),
  'acks-1': acks(1),
  'acks-all': acks(-1),
  gzip: codec(codecs.gzip),
  snappy: codec(codecs.snappy),
  lz4: codec(codecs.lz4),
  zstd: codec(codecs.zstd),

  async idempotence(name) {
    const topic = await makeTopic(name)
    await using(kafka.producer({ idempotent: true, maxInFlightRequests: 1 }), async p => {
      for (let i = 0; i < 50; i++) await p.send({ topic, messages: numbered(10, i * 10) })
    })
    equal((await read(topic, 500)).map(plain), numbered(500), 'records')
    return '500 records in 50 batches'
  },

  async records(name) {
    const got = await roundTrip(name, [
      { key: null, value: 'null key' }, { key: '', value: 'empty key' }, { key: 'null value', value: null },
      { key: 'empty value', value: '' }, { key: 'ключ', value: '日本' },
      { key: 'headers', value: 'h', headers: { twice: ['1', '2'], bytes: Buffer.from([0, 255]), empty: '' } },
    ])
    const h = got[5].headers
    equal([h.twice.map(text), [...h.bytes], text(h.empty)], [['1', '2'], [0, 255], ''], 'headers')
    return 'null and empty kept apart, headers in order'
  },

  async timestamps(name) {
    const at = Date.now() - 3_600_000
    const messages = [0, -60_000, 1234].map((after, i) => ({ key: `${i}`, value: 'v', timestamp: String(at + after) }))
    const got = await roundTrip(name, messages)
    equal(got.map(m => m.timestamp), messages.map(m => m.timestamp), 'timestamps')
    const topic = await makeTopic(name, 1, [{ name: 'message.timestamp.type', value: 'LogAppendTime' }])
    await produce(topic, messages)
    for (const m of await read(topic, 3)) expect(Number(m.timestamp) > at + 3_500_000, `LogAppendTime: ${m.timestamp}`)
    return "kept to the millisecond; LogAppendTime is the broker's"
  },

  async 'too-large'(name) {
    const topic = await makeTopic(name, 1, [{ name: 'max.message.bytes', value: '2000' }])
    await using(kafka.producer({ retry: { retries: 2 } }), async p => {
      await refused(p.send({ topic, messages: [{ value: Buffer.alloc(5000) }] }), 'MESSAGE_TOO_LARGE')
      await p.send({ topic, messages: numbered(1) })
    })
    equal((await read(topic, 1)).map(plain), numbered(1), 'records')
    return 'MESSAGE_TOO_LARGE, and it goes on'
  },

  async 'auto-create'(name) {
    const topic = unique(name)
    await produce(topic, numbered(3), { allowAutoTopicCreation: true })
    sameSet(await read(topic, 3), numbered(3), 'records')
    const other = unique(name)
    await refused(produce(other, numbered(1), { allowAutoTopicCreation: false, retry: { retries: 1 } }), 'UNKNOWN_TOPIC_OR_PARTITION')
    return 'by the first produce; not where the client forbids it'
  },

  async 'transactional-refused'(name) {
    const p = kafka.producer({ transactionalId: unique(name), idempotent: true, maxInFlightRequests: 1, retry: { retries: 2 } })
    let problem
    try {
      await p.connect()
      await p.transaction()
    } catch (e) {
      problem = e
    } finally {
      await p.disconnect()
    }
    expect(problem, 'a transaction was begun')
    return problem.type || problem.message
  },

  async 'interchange-write'() {
    for (const [name, compression] of Object.entries(codecs)) {
      await produce(`interchange-${name}`, interchangeRecords('kafkajs'), {}, { compression })
    }
    return Object.keys(codecs).join(', ')
  },

  async 'interchange-read'() {
    let clients
    for (const name of Object.keys(codecs)) {
      const topic = `interchange-${name}`
      const [{ high }] = await admin(a => a.fetchTopicOffsets(topic))
      const by = {}
      for (const m of await read(topic, Number(high) - Number(env.COMPAT_GONE || 0))) (by[text(m.headers.compat)] ||= []).push({ ...plain(m), headers: { compat: text(m.headers.compat) } })
      for (const client of (env.COMPAT_INTERCHANGE || '').split(',').filter(Boolean)) expect(by[client], `${name}: nothing of ${client}`)
      for (const [client, records] of Object.entries(by)) equal(records, interchangeRecords(client), `${name} of ${client}`)
      clients = Object.keys(by).sort()
    }
    return `of ${clients.join(', ')}`
  },

  async 'from-start'(name) {
    const { topic, messages } = await filled(name, 3, 300)
    const got = await read(topic, 300)
    const next = {}
    for (const m of got) {
      equal(Number(m.offset), next[m.partition] || 0, `partition ${m.partition}`)
      next[m.partition] = Number(m.offset) + 1
    }
    sameSet(got, messages, 'records')
    return '300 records of 3 partitions, offsets dense'
  },

  async 'from-time'(name) {
    const { topic, messages } = await filled(name, 1, 100)
    const [{ offset }] = await admin(a => a.fetchTopicOffsetsByTimestamp(topic, Number(messages[60].timestamp) - 1))
    const got = await read(topic, 40, { partition: 0, offset })
    equal(got.slice(-40).map(plain), messages.slice(60).map(plain), 'records')
    return 'record 60 of 100 by its time'
  },

  async 'offsets-by-time'(name) {
    const { topic, messages } = await filled(name, 1, 100)
    await admin(async a => {
      const [{ high, low }] = await a.fetchTopicOffsets(topic)
      equal([low, high], ['0', '100'], 'low and high')
      for (const [what, at, want] of [
        ['just before record 50', Number(messages[50].timestamp) - 1, '50'], ['at record 50', Number(messages[50].timestamp), '50'],
        ['after all, where KafkaJS takes the end', Number(messages[99].timestamp) + 1, '100'],
      ]) equal((await a.fetchTopicOffsetsByTimestamp(topic, at))[0].offset, want, what)
    })
    return 'earliest, latest, exact by time'
  },

  async 'group-resume'(name) {
    const { topic, messages } = await filled(name, 1, 10)
    const all = [...messages]
    const got = []
    for (let life = 0; life < 3; life++) {
      if (life > 0) {
        const more = numbered(10, life * 10)
        await produce(topic, more)
        all.push(...more)
      }
      const m = await new Member(topic, [topic]).start()
      await m.has(10)
      await m.stop()
      got.push(...m.read)
    }
    equal(got.map(plain), all.map(plain), 'records')
    const [{ partitions }] = await admin(a => a.fetchOffsets({ groupId: topic, topics: [topic] }))
    equal(partitions[0].offset, '30', 'committed')
    return 'three lives, 10 records each, none twice'
  },

  async 'no-offset'(name) {
    const topic = await makeTopic(name, 2)
    const [{ partitions }] = await admin(a => a.fetchOffsets({ groupId: unique(name), topics: [topic] }))
    equal(partitions.map(p => p.offset), ['-1', '-1'], 'offsets')
    return '-1, no error'
  },

  async 'group-rebalance'(name) {
    const { topic, messages } = await filled(name, 4, 100)
    const first = await new Member(topic, [topic]).start()
    await first.owns(4)
    await first.has(100)
    const second = await new Member(topic, [topic]).start()
    await until(() => (first.count() !== 2 || second.count() !== 2) && `${JSON.stringify(first.owned)} and ${JSON.stringify(second.owned)}`)
    const partitions = [...first.owned[topic], ...second.owned[topic]].sort()
    equal(partitions, [0, 1, 2, 3], 'partitions of both')
    await first.stop()
    await second.owns(4)
    const more = numbered(20, 100)
    await produce(topic, more)
    await second.has(20)
    await second.stop()
    sameSet([...first.read, ...second.read], [...messages, ...more], 'records')
    return '4 partitions: alone 4, two 2+2, after the leave 4; every record once'
  },

  // The same consumer object leaves and joins again, as web servers do that
  // are reloaded, alone and beside another member.
  async 'group-rejoin'(name) {
    const { topic, messages } = await filled(name, 2, 20)
    const m = new Member(topic, [topic])
    await m.start()
    await m.has(20)
    let n = 20
    for (let round = 0; round < 3; round++) {
      await m.stop()
      await m.start()
      await m.owns(2)
      const more = numbered(5, n)
      await produce(topic, more)
      messages.push(...more)
      n += 5
      await m.has(n)
    }
    const stays = await new Member(topic, [topic]).start()
    for (let round = 0; round < 3; round++) {
      await until(() => (m.count() !== 1 || stays.count() !== 1) && `round ${round}: ${JSON.stringify(m.owned)} and ${JSON.stringify(stays.owned)}`)
      await m.stop()
      m.owned = {}
      await stays.owns(2)
      await m.start()
    }
    // stop and run again keeps the connection; KafkaJS leaves the group on stop.
    await until(() => (m.count() !== 1 || stays.count() !== 1) && `${JSON.stringify(m.owned)} and ${JSON.stringify(stays.owned)}`)
    await m.consumer.stop()
    m.owned = {}
    await stays.owns(2)
    await m.start()
    await until(() => (m.count() !== 1 || stays.count() !== 1) && `after stop and run: ${JSON.stringify(m.owned)} and ${JSON.stringify(stays.owned)}`)
    await Promise.all([m.stop(), stays.stop()])
    sameSet([...m.read, ...stays.read], messages, 'records')
    return 'alone three times, beside another four times; every record once'
  },

  async 'regex-subscription'(name) {
    const prefix = unique(name)
    await admin(async a => {
      await a.createTopics({ topics: ['-a', '-b', '-other'].map(s => ({ topic: prefix + s, numPartitions: 1 })), waitForLeaders: true })
    })
    for (const s of ['-a', '-b', '-other']) await produce(prefix + s, [{ value: s }])
    const m = await new Member(prefix, [new RegExp(`^${prefix}-[ab]$`)]).start()
    await m.has(2)
    await m.stop()
    equal(m.read.map(r => text(r.value)).sort(), ['-a', '-b'], 'values')
    return 'two of three topics match'
  },

  async 'list-groups'(name) {
    const { topic } = await filled(name, 1, 1)
    const m = await new Member(topic, [topic]).start()
    await m.owns(1)
    const { groups } = await admin(a => a.listGroups())
    await m.stop()
    equal(groups.filter(g => g.groupId === topic), [{ groupId: topic, protocolType: 'consumer' }], 'listed')
    return 'with its protocol type'
  },

  async 'describe-groups'(name) {
    const { topic } = await filled(name, 2, 2)
    const m = await new Member(topic, [topic]).start()
    await m.owns(2)
    const { groups: [g] } = await admin(a => a.describeGroups([topic]))
    equal([g.state, g.protocolType, g.protocol, g.members.length], ['Stable', 'consumer', 'RoundRobinAssigner', 1], 'described')
    equal([g.members[0].memberId, g.members[0].clientId], [m.joined.memberId, 'compat-kafkajs'], 'member')
    const { AssignerProtocol: { MemberAssignment } } = require('kafkajs')
    equal(MemberAssignment.decode(g.members[0].memberAssignment).assignment, { [topic]: [0, 1] }, 'assignment')
    await m.stop()
    const { groups: [empty] } = await admin(a => a.describeGroups([topic]))
    equal(empty.state, 'Empty', 'state after the leave')
    return 'state, member, client, assignment'
  },

  async 'delete-groups'(name) {
    const { topic } = await filled(name, 1, 3)
    const m = await new Member(topic, [topic]).start()
    await m.has(3)
    await admin(a => refused(a.deleteGroups([topic]), 'NON_EMPTY_GROUP'))
    await m.stop()
    await admin(async a => {
      const [one] = await a.deleteGroups([topic])
      equal([one.groupId, one.errorCode], [topic, 0], 'deleted')
      await refused(a.deleteGroups([topic]), 'GROUP_ID_NOT_FOUND')
    })
    return 'refused with members, then gone'
  },

  async 'reset-offsets'(name) {
    const { topic, messages } = await filled(name, 1, 20)
    await admin(async a => {
      await a.setOffsets({ groupId: topic, topic, partitions: [{ partition: 0, offset: '15' }] })
      const [{ partitions }] = await a.fetchOffsets({ groupId: topic, topics: [topic] })
      equal(partitions[0].offset, '15', 'committed')
    })
    const m = await new Member(topic, [topic]).start()
    await m.has(5)
    await m.stop()
    equal(m.read.map(plain), messages.slice(15).map(plain), 'records')
    await admin(async a => {
      await a.resetOffsets({ groupId: topic, topic, earliest: true })
      const [{ partitions }] = await a.fetchOffsets({ groupId: topic, topics: [topic], resolveOffsets: true })
      equal(partitions[0].offset, '0', 'reset')
    })
    const again = await new Member(topic, [topic]).start()
    await again.has(20)
    await again.stop()
    return 'set and read, consumed from there; reset to the start and consumed'
  },

  async 'create-topic'(name) {
    const topic = await makeTopic(name, 3, [{ name: 'retention.ms', value: '86400000' }])
    await admin(async a => {
      equal(await a.createTopics({ topics: [{ topic, numPartitions: 1 }] }), false, 'create again')
      await refused(a.createTopics({ topics: [{ topic: 'no spaces', numPartitions: 1 }] }), 'INVALID_TOPIC_EXCEPTION')
      await refused(a.createTopics({ topics: [{ topic: unique(name), numPartitions: 0 }] }), 'INVALID_PARTITIONS')
      const dry = unique(name)
      equal(await a.createTopics({ validateOnly: true, waitForLeaders: false, topics: [{ topic: dry, numPartitions: 1 }] }), true, 'validate only')
      const listed = await a.listTopics()
      expect(listed.includes(topic) && !listed.includes(dry), 'listTopics')
    })
    return 'with configs; duplicates, bad names and counts refused; validate only creates nothing'
  },

  async 'describe-topic'(name) {
    const topic = await makeTopic(name, 3)
    await admin(async a => {
      const { topics: [t] } = await a.fetchTopicMetadata({ topics: [topic] })
      equal([t.name, t.partitions.map(p => p.partitionId).sort()], [topic, [0, 1, 2]], 'metadata')
      for (const p of t.partitions) expect(p.leader >= 0 && p.isr.length > 0 && p.replicas.length > 0, JSON.stringify(p))
    })
    return '3 partitions with leaders'
  },

  async 'delete-topic'(name) {
    const { topic } = await filled(name, 1, 3)
    await admin(async a => {
      await a.deleteTopics({ topics: [topic] })
      expect(!(await a.listTopics()).includes(topic), 'still listed')
      await refused(a.deleteTopics({ topics: [topic] }), 'UNKNOWN_TOPIC_OR_PARTITION')
    })
    return 'gone'
  },

  async 'add-partitions'(name) {
    const topic = await makeTopic(name, 2)
    await admin(async a => {
      await a.createPartitions({ topicPartitions: [{ topic, count: 5 }] })
      const { topics: [t] } = await a.fetchTopicMetadata({ topics: [topic] })
      equal(t.partitions.length, 5, 'partitions')
      await refused(a.createPartitions({ topicPartitions: [{ topic, count: 3 }] }), 'INVALID_PARTITIONS')
    })
    return '2 to 5; fewer refused'
  },

  async 'describe-configs'(name) {
    const topic = await makeTopic(name, 1, [{ name: 'retention.ms', value: '3600000' }])
    await admin(async a => {
      const { resources: [r] } = await a.describeConfigs({ includeSynonyms: true, resources: [{ type: ConfigResourceTypes.TOPIC, name: topic, configNames: ['retention.ms', 'cleanup.policy'] }] })
      const by = Object.fromEntries(r.configEntries.map(c => [c.configName, c]))
      equal(Object.keys(by).sort(), ['cleanup.policy', 'retention.ms'], 'names')
      equal([by['retention.ms'].configValue, by['retention.ms'].configSource, by['retention.ms'].isDefault], ['3600000', 1, false], 'retention.ms')
      equal([by['cleanup.policy'].configValue, by['cleanup.policy'].configSource, by['cleanup.policy'].isDefault], ['delete', 5, true], 'cleanup.policy')
    })
    return 'with source and default'
  },

  async 'replace-configs'(name) {
    const topic = await makeTopic(name, 1, [{ name: 'retention.ms', value: '3600000' }, { name: 'max.message.bytes', value: '5000' }])
    await admin(async a => {
      await a.alterConfigs({ validateOnly: false, resources: [{ type: ConfigResourceTypes.TOPIC, name: topic, configEntries: [{ name: 'retention.ms', value: '7200000' }] }] })
      const { resources: [r] } = await a.describeConfigs({ resources: [{ type: ConfigResourceTypes.TOPIC, name: topic, configNames: ['retention.ms', 'max.message.bytes'] }] })
      const by = Object.fromEntries(r.configEntries.map(c => [c.configName, c.configValue]))
      equal([by['retention.ms'], by['max.message.bytes']], ['7200000', '1048588'], 'configs')
    })
    return 'what is not named goes back to its default'
  },

  async 'unknown-config'(name) {
    const topic = await makeTopic(name)
    await admin(async a => {
      await refused(a.createTopics({ topics: [{ topic: unique(name), numPartitions: 1, configEntries: [{ name: 'no.such.config', value: '1' }] }] }), 'INVALID_CONFIG')
      const alter = (n, value) => a.alterConfigs({ validateOnly: false, resources: [{ type: ConfigResourceTypes.TOPIC, name: topic, configEntries: [{ name: n, value }] }] })
      await refused(alter('no.such.config', '1'), 'INVALID_CONFIG')
      await refused(alter('retention.ms', 'soon'), 'INVALID_CONFIG')
    })
    return 'INVALID_CONFIG'
  },

  async 'delete-records'(name) {
    const { topic, messages } = await filled(name, 1, 50)
    await admin(async a => {
      await a.fetchTopicOffsets(topic) // KafkaJS knows the topic's leaders only from here
      await a.deleteTopicRecords({ topic, partitions: [{ partition: 0, offset: '20' }] })
      const [{ low, high }] = await a.fetchTopicOffsets(topic)
      equal([low, high], ['20', '50'], 'low and high')
    })
    equal((await read(topic, 30)).map(plain), messages.slice(20).map(plain), 'records')
    // A group whose offset is gone starts again where there is something.
    await admin(a => a.setOffsets({ groupId: topic, topic, partitions: [{ partition: 0, offset: '3' }] }))
    const m = await new Member(topic, [topic]).start()
    await m.has(30)
    await m.stop()
    equal(m.read.map(plain), messages.slice(20).map(plain), 'records of a group that was below')
    return 'to an offset; a group below it goes on behind it'
  },

  async 'describe-cluster'() {
    const c = await admin(a => a.describeCluster())
    expect(c.clusterId && c.brokers.some(b => b.nodeId === c.controller), JSON.stringify(c))
    return `${c.brokers.length} broker, the controller is one of them`
  },

  async reassign(name) {
    const topic = await makeTopic(name)
    const { topics } = await admin(a => a.listPartitionReassignments({ topics: [{ topic, partitions: [0] }] }))
    equal(topics, [], 'under way')
    return 'none under way'
  },

  async 'acls-disabled'() {
    return refused(admin(a => a.describeAcls({ resourceType: 1, resourcePatternType: 1, operation: 1, permissionType: 1 })), 'SECURITY_DISABLED')
  },
}

async function main() {
  if (!env.COMPAT_BOOTSTRAP) throw new Error('COMPAT_BOOTSTRAP is not set: this is run by tests/compat')
  await zstd.init()
  const asked = env.COMPAT_CAPABILITIES === undefined ? null : env.COMPAT_CAPABILITIES.split(/\s+/)
  const todo = Object.keys(capabilities).filter(c => !asked || asked.includes(c))
  const worker = async () => {
    for (let name; (name = todo.shift());) {
      let ok = true
      let detail
      let timer
      const late = new Promise((_, reject) => { timer = setTimeout(() => reject(new Error(`nothing after ${timeout / 1000} s`)), timeout) })
      try {
        detail = await Promise.race([capabilities[name](name), late])
      } catch (e) {
        ok = false
        detail = e.message
        if (env.COMPAT_LOG) console.error(e)
      }
      clearTimeout(timer)
      console.log(JSON.stringify({ client: 'kafkajs', version, capability: name, ok, detail: String(detail) }))
    }
  }
  await Promise.all(Array.from({ length: together }, worker))
}

main().then(() => process.exit(0), e => { console.error(e); process.exit(1) })
