// Everything that the bridge needs, in a resource group of its own. README.md beside this file says what and why.
targetScope = 'subscription'

@description('Names the deployment; azd calls it the environment.')
@minLength(1)
@maxLength(40)
param environmentName string

@description('Where everything is created.')
@minLength(1)
param location string

// Scale

@description('Memory of an instance. More costs more for each of the 259,200 ticks of a month.')
@allowed([512, 2048, 4096])
param instanceMemoryMB int = 512

@description('No more instances than this.')
@minValue(40)
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

// Operators

@description('Who is told of alerts; nobody is where it is empty, and alerts just show.')
param alertEmail string = ''

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

@description('Further variables that hold a key, as `keyVariable` of BRIDGE_SOURCES names them: read from the vault.')
param keyVariables array = []

var tags = { 'azd-env-name': environmentName }
var token = toLower(uniqueString(subscription().id, environmentName, location))
var speechIsNamed = !empty(speechResourceId)
var speechIsCreated = !speechIsNamed && empty(speechEndpoint)
var speechParts = split(speechResourceId, '/')
var speechSubscriptionId = speechIsNamed ? speechParts[2] : subscription().subscriptionId

// What cannot be right is refused before anything is created, in the words of main.bicepparam. `fail` fails only
// where its branch is taken.
var byToken = contains(settings, 'BRIDGE_AUTH') && settings.BRIDGE_AUTH == 'entra'
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
    holds: !speechUsesKey && !empty(newSpeechKey)
    why: 'NEW_SPEECH_KEY is given, but SPEECH_USES_KEY is not true: a source has one credential, the key or the identity'
  }
  {
    holds: speechUsesKey && speechIsCreated
    why: 'SPEECH_USES_KEY needs SPEECH_RESOURCE_ID or SPEECH_ENDPOINT: a resource that is created here takes no keys'
  }
  {
    holds: speechIsNamed && length(speechParts) != 9
    why: 'SPEECH_RESOURCE_ID is not the id of a resource'
  }
  {
    holds: byToken && (empty(settings.BRIDGE_AUTH_TENANT) || empty(settings.BRIDGE_AUTH_AUDIENCE))
    why: 'BRIDGE_AUTH=entra needs BRIDGE_AUTH_TENANT and BRIDGE_AUTH_AUDIENCE'
  }
]
var refused = filter(refusals, each => each.holds)

resource group 'Microsoft.Resources/resourceGroups@2024-03-01' = {
  name: empty(refused) ? 'rg-${environmentName}' : fail(join(map(refused, each => each.why), '; '))
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
  scope: resourceGroup(speechSubscriptionId, speechIsNamed ? speechParts[4] : group.name)
  params: {
    name: speechIsNamed ? speechParts[8] : speech!.outputs.name
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
    secretsUri: vault.outputs.secretsUri
    speechEndpoint: speechIsNamed || speechIsCreated ? askedSpeech!.outputs.endpoint : speechEndpoint
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
