// The variables that `azd env set NAME VALUE` sets. An empty value counts as absent, as the app itself has it.
// infra/hooks/choices.py checks each value before this file is read.
using './main.bicep'

var memory = readEnvironmentVariable('INSTANCE_MEMORY_MB', '')
var instances = readEnvironmentVariable('MAXIMUM_INSTANCES', '')
var readyHttp = readEnvironmentVariable('ALWAYS_READY_HTTP', '')
var readyDeliver = readEnvironmentVariable('ALWAYS_READY_DELIVER', '')
var concurrency = readEnvironmentVariable('HTTP_PER_INSTANCE', '')
var isPrivate = readEnvironmentVariable('PRIVATE_NETWORKING', '')
var usesKey = readEnvironmentVariable('SPEECH_USES_KEY', '')
var deadDeliveries = readEnvironmentVariable('ALERT_DEAD_DELIVERIES', '')
var dailyCap = readEnvironmentVariable('LOG_DAILY_CAP_GB', '')

param environmentName = readEnvironmentVariable('AZURE_ENV_NAME', '')
param location = readEnvironmentVariable('AZURE_LOCATION', '')

// The type of a parsed number is any number: Resource Manager holds the value against the allowed ones.
param instanceMemoryMB = any(int(empty(memory) ? '512' : memory))
param maximumInstanceCount = int(empty(instances) ? '40' : instances)
param alwaysReadyHttp = int(empty(readyHttp) ? '0' : readyHttp)
param alwaysReadyDeliver = int(empty(readyDeliver) ? '0' : readyDeliver)
param httpPerInstanceConcurrency = int(empty(concurrency) ? '16' : concurrency)

param privateNetworking = bool(empty(isPrivate) ? 'false' : isPrivate)
param networkRange = readEnvironmentVariable('NETWORK_RANGE', '')
param apiAllowedRanges = filter(
  map(split(readEnvironmentVariable('API_ALLOWED_RANGES', ''), ','), range => trim(range)),
  range => !empty(range)
)

param alertEmail = readEnvironmentVariable('ALERT_EMAIL', '')
param alertActionGroupId = readEnvironmentVariable('ALERT_ACTION_GROUP_ID', '')
param runbookUrl = readEnvironmentVariable('RUNBOOK_URL', '')
param alertDeadDeliveries = int(empty(deadDeliveries) ? '1' : deadDeliveries)
param logDailyCapGb = empty(dailyCap) ? '1' : dailyCap

param newSigningKey = readEnvironmentVariable('NEW_SIGNING_KEY', '')
param newSpeechKey = readEnvironmentVariable('NEW_SPEECH_KEY', '')

param speechResourceId = readEnvironmentVariable('SPEECH_RESOURCE_ID', '')
param speechEndpoint = readEnvironmentVariable('SPEECH_ENDPOINT', '')
param speechUsesKey = bool(empty(usesKey) ? 'false' : usesKey)
param keyVariables = filter(
  map(split(readEnvironmentVariable('KEY_VARIABLES', ''), ','), name => trim(name)),
  name => !empty(name)
)

// No variable of this file in here: the compiler cannot extend an object that has one.
param settings = {
  SPEECH_PATH: readEnvironmentVariable('SPEECH_PATH', '')
  SPEECH_OTHER_ENDPOINTS: readEnvironmentVariable('SPEECH_OTHER_ENDPOINTS', '')
  SPEECH_API_VERSION: readEnvironmentVariable('SPEECH_API_VERSION', '')
  SPEECH_REQUESTS_PER_SECOND: readEnvironmentVariable('SPEECH_REQUESTS_PER_SECOND', '')
  BRIDGE_SOURCES: readEnvironmentVariable('BRIDGE_SOURCES', '')
  BRIDGE_POLL_SCHEDULE: empty(readEnvironmentVariable('BRIDGE_POLL_SCHEDULE', ''))
    ? '*/10 * * * * *'
    : readEnvironmentVariable('BRIDGE_POLL_SCHEDULE', '')
  BRIDGE_POLL_INTERVAL: readEnvironmentVariable('BRIDGE_POLL_INTERVAL', '')
  BRIDGE_POLL_PLAN: readEnvironmentVariable('BRIDGE_POLL_PLAN', '')
  BRIDGE_POLLS_PER_OPERATION: readEnvironmentVariable('BRIDGE_POLLS_PER_OPERATION', '')
  BRIDGE_OPERATION_DEADLINE: readEnvironmentVariable('BRIDGE_OPERATION_DEADLINE', '')
  BRIDGE_RETENTION: readEnvironmentVariable('BRIDGE_RETENTION', '')
  BRIDGE_SWEEP_BUDGET: readEnvironmentVariable('BRIDGE_SWEEP_BUDGET', '')
  BRIDGE_SWEEP_THREADS: readEnvironmentVariable('BRIDGE_SWEEP_THREADS', '')
  BRIDGE_SHARED_OPERATIONS: readEnvironmentVariable('BRIDGE_SHARED_OPERATIONS', '')
  BRIDGE_MAX_WAITING_PER_OWNER: readEnvironmentVariable('BRIDGE_MAX_WAITING_PER_OWNER', '')
  BRIDGE_AUTH: readEnvironmentVariable('BRIDGE_AUTH', '')
  BRIDGE_AUTH_TENANT: readEnvironmentVariable('BRIDGE_AUTH_TENANT', '')
  BRIDGE_AUTH_AUDIENCE: readEnvironmentVariable('BRIDGE_AUTH_AUDIENCE', '')
  BRIDGE_AUTH_AUTHORITY: readEnvironmentVariable('BRIDGE_AUTH_AUTHORITY', '')
  BRIDGE_TELEMETRY: readEnvironmentVariable('BRIDGE_TELEMETRY', '')
  BRIDGE_ENRICH: readEnvironmentVariable('BRIDGE_ENRICH', '')
  BRIDGE_PUBLIC_URL: readEnvironmentVariable('BRIDGE_PUBLIC_URL', '')
  BRIDGE_CALLBACK_ALLOW_HTTP: readEnvironmentVariable('BRIDGE_CALLBACK_ALLOW_HTTP', '')
  BRIDGE_CALLBACK_ALLOWED_NETWORKS: readEnvironmentVariable('BRIDGE_CALLBACK_ALLOWED_NETWORKS', '')
  BRIDGE_CALLBACK_REFUSED_NETWORKS: readEnvironmentVariable('BRIDGE_CALLBACK_REFUSED_NETWORKS', '')
  BRIDGE_CALLBACK_ALLOWED_HOSTS: readEnvironmentVariable('BRIDGE_CALLBACK_ALLOWED_HOSTS', '')
  BRIDGE_CALLBACK_ALLOWED_PORTS: readEnvironmentVariable('BRIDGE_CALLBACK_ALLOWED_PORTS', '')
  BRIDGE_CALLBACK_KEEP_ANSWERS: readEnvironmentVariable('BRIDGE_CALLBACK_KEEP_ANSWERS', '')
}
