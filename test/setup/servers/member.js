import cluster from 'node:cluster'
import Fastify from 'fastify'
import sse from 'fastify-typed-sse'
import { redisLog } from 'fastify-typed-sse/redis'
import { Redis } from 'ioredis'

// A process of one machine: a worker of node:cluster, whose primary process is this program, too, or one of PM2. All
// workers share the port.

const { PORT, REDIS_PORT } = process.env

if (cluster.isPrimary) {
  for (let n = 0; n < 2; n++) cluster.fork()
  cluster.on('exit', () => process.send('exit'))
  process.once('disconnect', () => process.exit())
} else {
  const app = Fastify({ forceCloseConnections: true })
  const redis = new Redis(Number(REDIS_PORT), '127.0.0.1')
  app.addHook('onClose', () => { redis.disconnect() })
  await app.register(sse, { eventLog: redisLog(redis) })
  const news = app.sse.channel('news', { history: { maxEvents: 10_000 } })
  app.addHook('onRequest', (_request, reply, done) => {
    reply.header('x-process', process.pid)
    done()
  })
  app.get('/', (_request, reply) => reply.sse(news))
  app.post('/', async request => news.publish({ data: request.body.n }))
  await app.listen({ port: Number(PORT), host: '127.0.0.1' })
  process.send?.('ready')
  for (const signal of ['SIGINT', 'SIGTERM', 'disconnect']) {
    process.once(signal, () => app.close().then(() => process.exit()))
  }
}
