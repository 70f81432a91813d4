export { checkEventLog, type CheckEventLogOptions, type Tester } from './log/check-event-log.ts'
