// Everything that the bridge needs, in a resource group of its own. README.md beside this file says what and why.
targetScope = 'subscription'

@description('The name of the deployment, the environment of azd: 1 to 40 characters.')
@maxLength(40)
param environmentName string

@description('The region of all resources.')
param location string

// Scale

@description('Memory of an instance. More costs more for each of the 259,200 ticks of a month.')
@allowed([512, 2048, 4096])
param instanceMemoryMB int = 512

@description('The most instances of each group that scales separately: HTTP, deliveries, the timer.')
@minValue(1)
@maxValue(1000)
param maximumInstanceCount int = 40

@description('Instances that are kept warm for HTTP.')
@minValue(0)
param alwaysReadyHttp int = 0

@description('Instances that are kept warm for deliveries.')
@minValue(0)
param alwaysReadyDeliver int = 0

@description('HTTP requests that one instance takes at once.')
@minValue(1)
@maxValue(1000)
param httpPerInstanceConcurrency int = 16

// Network

@description('Storage and vault are reached over private endpoints only.')
param privateNetworking bool = false

@description('The address range of the virtual network, /24 or larger: needed for private networking.')
param networkRange string = ''

@description('The address ranges that may call the API. Empty: every address.')
param apiAllowedRanges string[] = []

// Operators

@description('The address that gets the alerts. Without an address and an action group, alerts only show in the portal.')
param alertEmail string = ''

@description('The id of an existing action group that gets the alerts.')
param alertActionGroupId string = ''

@description('The address of README.md in this folder. Alerts link to its runbook.')
param runbookUrl string = ''

@description('So many deliveries that die within 15 minutes raise an alert.')
@minValue(1)
@maxValue(100000)
param alertDeadDeliveries int = 1

@description('The most gigabytes of log a day, a decimal number. -1: no limit.')
param logDailyCapGb string = '1'

// Secrets that are written to the vault, where given

@secure()
@description('A signing key for a vault that has none. The hook before provisioning makes it.')
param newSigningKey string = ''

@secure()
@description('The key of Speech, the first time or when it has changed.')
param newSpeechKey string = ''

// Speech

@description('The resource that is asked, in any resource group of this tenant; one is created where it is empty.')
param speechResourceId string = ''

@description('The endpoint, where it is not that of a resource which is named above or created.')
param speechEndpoint string = ''

@description('Ask with the key in the vault, and not with the identity.')
param speechUsesKey bool = false

@description('The settings of the app that it has good defaults for, by name; README.md has the table. Empty is absent.')
param settings object = {}

@description('Further variables that hold a key, the `keyVariable`s of BRIDGE_SOURCES: read from the vault.')
param keyVariables string[] = []

var tags = { 'azd-env-name': environmentName }
// `West Europe` and `westeurope` are one region, and names of resource groups ignore letter case.
var region = toLower(replace(location, ' ', ''))
var token = toLower(uniqueString(subscription().id, toLower(environmentName), region))
var speechIsNamed = !empty(speechResourceId)
var speechIsCreated = !speechIsNamed && empty(speechEndpoint)
// /subscriptions/{id}/resourceGroups/{group}/providers/Microsoft.CognitiveServices/accounts/{name}
var speechParts = split(speechResourceId, '/')
var speechIdIsWhole = length(speechParts) == 9
var speechSubscriptionId = speechIdIsWhole ? speechParts[2] : subscription().subscriptionId
var speechGroupName = speechIdIsWhole ? speechParts[4] : groupName
var speechPath = settings.?SPEECH_PATH ?? ''
// The regions that have batch avatar synthesis.
var avatarRegions = [
  'eastus2'
  'northeurope'
  'southcentralus'
  'southeastasia'
  'swedencentral'
  'westeurope'
  'westus2'
]

// Combinations that cannot work are refused before anything is created, in the terms of main.bicepparam. No condition
// depends on a secret: Resource Manager evaluates none of them before the deployment, so no name would be known then.
// The hook before provisioning checks the secrets and every single value.
var byToken = (settings.?BRIDGE_AUTH ?? '') == 'entra'
var refusals = [
  {
    holds: privateNetworking && empty(networkRange)
    why: 'PRIVATE_NETWORKING needs NETWORK_RANGE, 10.60.0.0/24 for instance'
  }
  {
    holds: !privateNetworking && !empty(networkRange)
    why: 'NETWORK_RANGE is given, but PRIVATE_NETWORKING is not true'
  }
  {
    holds: speechIsNamed && !empty(speechEndpoint)
    why: 'give SPEECH_RESOURCE_ID or SPEECH_ENDPOINT, not both'
  }
  {
    holds: !empty(speechEndpoint) && !speechUsesKey
    why: 'SPEECH_ENDPOINT needs SPEECH_USES_KEY: without a resource id no role can be given, and a regional endpoint takes no Entra token'
  }
  {
    holds: speechUsesKey && speechIsCreated
    why: 'SPEECH_USES_KEY needs SPEECH_RESOURCE_ID or SPEECH_ENDPOINT: a resource that is created here takes no keys'
  }
  {
    holds: speechIsNamed && !speechIdIsWhole
    why: 'SPEECH_RESOURCE_ID is not the id of a Speech resource: /subscriptions/{id}/resourceGroups/{group}/providers/Microsoft.CognitiveServices/accounts/{name}'
  }
  {
    holds: speechIsCreated && contains(['', 'avatar'], speechPath) && !contains(avatarRegions, region)
    why: 'AZURE_LOCATION is a region without batch avatar synthesis, and the Speech resource would be created there: take one of ${join(avatarRegions, ', ')}, or name a resource with SPEECH_RESOURCE_ID'
  }
  {
    holds: max(alwaysReadyHttp, alwaysReadyDeliver) > maximumInstanceCount
    why: 'ALWAYS_READY_HTTP and ALWAYS_READY_DELIVER may be at most MAXIMUM_INSTANCES'
  }
  {
    holds: byToken && (empty(settings.?BRIDGE_AUTH_TENANT) || empty(settings.?BRIDGE_AUTH_AUDIENCE))
    why: 'BRIDGE_AUTH=entra needs BRIDGE_AUTH_TENANT and BRIDGE_AUTH_AUDIENCE'
  }
]
var reasons = join(map(filter(refusals, each => each.holds), each => each.why), '; ')
var groupName = 'rg-${environmentName}'

resource group 'Microsoft.Resources/resourceGroups@2024-03-01' = {
  name: empty(reasons) ? groupName : fail(reasons)
  location: location
  tags: tags
}

module identity 'modules/identity.bicep' = {
  name: 'identity'
  scope: group
  params: {
    name: 'id-bridge-${token}'
    location: location
    tags: tags
  }
}

module monitoring 'modules/monitoring.bicep' = {
  name: 'monitoring'
  scope: group
  params: {
    workspaceName: 'log-bridge-${token}'
    insightsName: 'appi-bridge-${token}'
    location: location
    tags: tags
    principalId: identity.outputs.principalId
    dailyCapGb: logDailyCapGb
  }
}

module network 'modules/network.bicep' = if (privateNetworking) {
  name: 'network'
  scope: group
  params: {
    name: 'vnet-bridge-${token}'
    location: location
    tags: tags
    range: networkRange
    callbackNetworks: settings.?BRIDGE_CALLBACK_ALLOWED_NETWORKS ?? ''
  }
}

module storage 'modules/storage.bicep' = {
  name: 'storage'
  scope: group
  params: {
    name: 'stbridge${token}'
    location: location
    tags: tags
    principalId: identity.outputs.principalId
    isPublic: !privateNetworking
  }
}

module vault 'modules/vault.bicep' = {
  name: 'vault'
  scope: group
  params: {
    name: 'kv-${token}'
    location: location
    tags: tags
    principalId: identity.outputs.principalId
    isPublic: !privateNetworking
    workspaceId: monitoring.outputs.workspaceId
    newSigningKey: newSigningKey
    newSpeechKey: newSpeechKey
  }
}

module endpoints 'modules/endpoints.bicep' = if (privateNetworking) {
  name: 'endpoints'
  scope: group
  params: {
    location: location
    tags: tags
    networkId: privateNetworking ? network!.outputs.networkId : ''
    subnetId: privateNetworking ? network!.outputs.endpointsSubnetId : ''
    storageId: storage.outputs.id
    storageName: storage.outputs.name
    vaultId: vault.outputs.id
    vaultName: vault.outputs.name
  }
}

module speech 'modules/speech.bicep' = if (speechIsCreated) {
  name: 'speech'
  scope: group
  params: {
    name: 'speech-bridge-${token}'
    location: location
    tags: tags
  }
}

// The resource that is asked, whoever created it.
module askedSpeech 'modules/asked-speech.bicep' = if (speechIsNamed || speechIsCreated) {
  name: 'asked-speech-${token}'
  scope: resourceGroup(speechSubscriptionId, speechIsNamed ? speechGroupName : group.name)
  params: {
    name: speechIsCreated ? speech!.outputs.name : speechIdIsWhole ? speechParts[8] : ''
    principalId: identity.outputs.principalId
    usesKey: speechUsesKey
  }
}

module app 'modules/app.bicep' = {
  name: 'app'
  scope: group
  // Its first start needs what it is told, and the names by which the private endpoints are found.
  dependsOn: [endpoints]
  params: {
    name: 'func-bridge-${token}'
    planName: 'plan-bridge-${token}'
    location: location
    tags: tags
    identityId: identity.outputs.id
    clientId: identity.outputs.clientId
    storageName: storage.outputs.name
    containerName: storage.outputs.containerName
    insightsName: monitoring.outputs.insightsName
    subnetId: privateNetworking ? network!.outputs.appSubnetId : ''
    instanceMemoryMB: instanceMemoryMB
    maximumInstanceCount: maximumInstanceCount
    alwaysReadyHttp: alwaysReadyHttp
    alwaysReadyDeliver: alwaysReadyDeliver
    httpPerInstanceConcurrency: httpPerInstanceConcurrency
    vaultUri: vault.outputs.vaultUri
    allowedRanges: apiAllowedRanges
    speechEndpoint: speechIsNamed || speechIsCreated ? askedSpeech!.outputs.endpoint : speechEndpoint
    speechRegionalEndpoint: speechIsNamed || speechIsCreated ? askedSpeech!.outputs.regionalEndpoint : ''
    speechUsesKey: speechUsesKey
    settings: settings
    keyVariables: keyVariables
  }
}

module alerts 'modules/alerts.bicep' = {
  name: 'alerts'
  scope: group
  params: {
    location: location
    tags: tags
    workspaceId: monitoring.outputs.workspaceId
    email: alertEmail
    actionGroupId: alertActionGroupId
    runbookUrl: runbookUrl
    deadDeliveries: alertDeadDeliveries
  }
}

module workbook 'modules/workbook.bicep' = {
  name: 'workbook'
  scope: group
  params: {
    location: location
    tags: tags
    workspaceId: monitoring.outputs.workspaceId
  }
}

output AZURE_RESOURCE_GROUP string = group.name
output AZURE_KEY_VAULT_NAME string = vault.outputs.name
output SERVICE_BRIDGE_NAME string = app.outputs.name
output SERVICE_BRIDGE_URL string = app.outputs.url
output SERVICE_BRIDGE_ID string = app.outputs.id
output BRIDGE_OUTBOUND_ADDRESS string = privateNetworking ? network!.outputs.outboundAddress : ''
