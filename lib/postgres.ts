export { postgresLog, type PostgresLogOptions } from './log/postgres/factory.ts'
export type {
  PostgresClient, PostgresConnection, PostgresPool, PostgresPoolClient,
  PostgresQuery
} from './log/postgres/client.ts'
