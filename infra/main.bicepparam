// What `azd env set NAME VALUE` can say, and what holds where nothing is said.
using './main.bicep'

param environmentName = readEnvironmentVariable('AZURE_ENV_NAME', '')
param location = readEnvironmentVariable('AZURE_LOCATION', '')

param instanceMemoryMB = int(readEnvironmentVariable('INSTANCE_MEMORY_MB', '512'))
param maximumInstanceCount = int(readEnvironmentVariable('MAXIMUM_INSTANCES', '40'))
param alwaysReadyHttp = int(readEnvironmentVariable('ALWAYS_READY_HTTP', '0'))
param alwaysReadyDeliver = int(readEnvironmentVariable('ALWAYS_READY_DELIVER', '0'))
param httpPerInstanceConcurrency = int(readEnvironmentVariable('HTTP_PER_INSTANCE', '16'))

param privateNetworking = bool(readEnvironmentVariable('PRIVATE_NETWORKING', 'false'))
param networkRange = readEnvironmentVariable('NETWORK_RANGE', '')
param alertEmail = readEnvironmentVariable('ALERT_EMAIL', '')

param newSigningKey = readEnvironmentVariable('NEW_SIGNING_KEY', '')
param newSpeechKey = readEnvironmentVariable('NEW_SPEECH_KEY', '')

param speechResourceId = readEnvironmentVariable('SPEECH_RESOURCE_ID', '')
param speechEndpoint = readEnvironmentVariable('SPEECH_ENDPOINT', '')
param speechUsesKey = bool(readEnvironmentVariable('SPEECH_USES_KEY', 'false'))
param keyVariables = filter(split(readEnvironmentVariable('KEY_VARIABLES', ''), ','), name => !empty(name))

param settings = {
  SPEECH_PATH: readEnvironmentVariable('SPEECH_PATH', '')
  SPEECH_API_VERSION: readEnvironmentVariable('SPEECH_API_VERSION', '')
  SPEECH_REQUESTS_PER_SECOND: readEnvironmentVariable('SPEECH_REQUESTS_PER_SECOND', '')
  BRIDGE_SOURCES: readEnvironmentVariable('BRIDGE_SOURCES', '')
  BRIDGE_POLL_SCHEDULE: readEnvironmentVariable('BRIDGE_POLL_SCHEDULE', '*/10 * * * * *')
  BRIDGE_POLL_INTERVAL: readEnvironmentVariable('BRIDGE_POLL_INTERVAL', '')
  BRIDGE_POLLS_PER_OPERATION: readEnvironmentVariable('BRIDGE_POLLS_PER_OPERATION', '')
  BRIDGE_OPERATION_DEADLINE: readEnvironmentVariable('BRIDGE_OPERATION_DEADLINE', '')
  BRIDGE_RETENTION: readEnvironmentVariable('BRIDGE_RETENTION', '')
  BRIDGE_SWEEP_BUDGET: readEnvironmentVariable('BRIDGE_SWEEP_BUDGET', '')
  BRIDGE_SWEEP_THREADS: readEnvironmentVariable('BRIDGE_SWEEP_THREADS', '')
  BRIDGE_AUTH: readEnvironmentVariable('BRIDGE_AUTH', '')
  BRIDGE_AUTH_TENANT: readEnvironmentVariable('BRIDGE_AUTH_TENANT', '')
  BRIDGE_AUTH_AUDIENCE: readEnvironmentVariable('BRIDGE_AUTH_AUDIENCE', '')
  BRIDGE_AUTH_AUTHORITY: readEnvironmentVariable('BRIDGE_AUTH_AUTHORITY', '')
  BRIDGE_TELEMETRY: readEnvironmentVariable('BRIDGE_TELEMETRY', '')
  BRIDGE_ENRICH: readEnvironmentVariable('BRIDGE_ENRICH', '')
  BRIDGE_PUBLIC_URL: readEnvironmentVariable('BRIDGE_PUBLIC_URL', '')
  BRIDGE_CALLBACK_ALLOW_HTTP: readEnvironmentVariable('BRIDGE_CALLBACK_ALLOW_HTTP', '')
  BRIDGE_CALLBACK_ALLOWED_NETWORKS: readEnvironmentVariable('BRIDGE_CALLBACK_ALLOWED_NETWORKS', '')
  BRIDGE_CALLBACK_ALLOWED_HOSTS: readEnvironmentVariable('BRIDGE_CALLBACK_ALLOWED_HOSTS', '')
  BRIDGE_CALLBACK_ALLOWED_PORTS: readEnvironmentVariable('BRIDGE_CALLBACK_ALLOWED_PORTS', '')
  BRIDGE_CALLBACK_KEEP_ANSWERS: readEnvironmentVariable('BRIDGE_CALLBACK_KEEP_ANSWERS', '')
}
