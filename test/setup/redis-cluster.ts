import { Cluster, type Redis } from 'ioredis'
import { RedisServer } from './redis.ts'
import { within } from './within.ts'

const SLOTS = 16_384

/** Masters on loopback that share the slots, and the replicas of each. */
export class RedisCluster {
  readonly masters: RedisServer[] = []
  readonly replicas: RedisServer[] = []

  static async start (
    t: { teardown: (fn: () => unknown) => unknown },
    masters: number,
    replicas = 0
  ): Promise<RedisCluster> {
    const cluster = new RedisCluster()
    const servers = await Promise.all(
      Array.from({ length: masters * (1 + replicas) }, () =>
        RedisServer.start(t, '--cluster-enabled', 'yes', '--cluster-config-file', 'nodes.conf',
          '--cluster-node-timeout', '1000', '--appendonly', 'yes', '--cluster-replica-validity-factor', '0'))
    )
    cluster.masters.push(...servers.slice(0, masters))
    cluster.replicas.push(...servers.slice(masters))
    const clients = servers.map(server => server.client(t))
    const share = Math.ceil(SLOTS / masters)
    await Promise.all(clients.slice(0, masters).map(async (client, index) => {
      await client.call('CLUSTER', 'ADDSLOTSRANGE', index * share, Math.min(SLOTS, (index + 1) * share) - 1)
      // Votes with the same configuration epoch would first have to be resolved.
      await client.call('CLUSTER', 'SET-CONFIG-EPOCH', index + 1)
    }))
    await within('every server knows the others', introduce(clients))
    await Promise.all(
      clients.slice(masters).map(async (client, index) =>
        client.call('CLUSTER', 'REPLICATE', String(await clients[index % masters]!.call('CLUSTER', 'MYID')))
      )
    )
    await within('the cluster is up', Promise.all(clients.map(async client => {
      while (!String(await client.call('CLUSTER', 'INFO')).includes('cluster_state:ok')) await pause()
    })))
    await within('replicas follow', Promise.all(clients.slice(masters).map(async client => {
      while (!String(await client.info('replication')).includes('master_link_status:up')) await pause()
    })))
    for (const client of clients) client.disconnect()
    return cluster
  }

  client (t: { teardown: (fn: () => unknown) => unknown }, options: object = {}): Cluster {
    const client = new Cluster([...this.masters, ...this.replicas].map(({ port }) => ({ host: '127.0.0.1', port })), {
      clusterRetryStrategy: () => 50,
      ...options
    })
    client.on('error', () => {})
    t.teardown(() => client.disconnect())
    return client
  }

  serverOf (client: Redis): RedisServer {
    return [...this.masters, ...this.replicas].find(({ port }) => port === client.options.port)!
  }
}

/** Repeatedly: a server silently drops a handshake that took longer than the node timeout. */
async function introduce (clients: Redis[]): Promise<void> {
  const known = async (client: Redis): Promise<number> =>
    String(await client.call('CLUSTER', 'NODES')).split('\n').filter(line => line !== '' && !line.includes('handshake'))
      .length
  while ((await Promise.all(clients.map(known))).some(count => count < clients.length)) {
    for (const { options } of clients.slice(1)) await clients[0]!.call('CLUSTER', 'MEET', '127.0.0.1', options.port!)
    await pause(200)
  }
}

const pause = (time = 20): Promise<void> => new Promise(resolve => setTimeout(resolve, time))
