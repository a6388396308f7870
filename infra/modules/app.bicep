// The function app on Flex Consumption, and everything that it is told.
param name string
param planName string
param location string
param tags object
param identityId string
param clientId string
param storageName string
param containerName string
param insightsName string
param subnetId string
param instanceMemoryMB int
param maximumInstanceCount int
param alwaysReadyHttp int
param alwaysReadyDeliver int
param httpPerInstanceConcurrency int
param secretsUri string
param speechEndpoint string
param speechUsesKey bool
param settings object
param keyVariables array

resource storage 'Microsoft.Storage/storageAccounts@2023-05-01' existing = {
  name: storageName
}

resource insights 'Microsoft.Insights/components@2020-02-02' existing = {
  name: insightsName
}

resource plan 'Microsoft.Web/serverfarms@2024-04-01' = {
  // checkov:skip=CKV_AZURE_225:while a zone is away everything waits; the storage account is in one zone as well
  name: planName
  location: location
  tags: tags
  kind: 'functionapp'
  sku: { name: 'FC1', tier: 'FlexConsumption' }
  properties: { reserved: true }
}

// The `deliver` after `function:` is the function's name in function_app.py.
var groups = [
  { name: 'http', instanceCount: alwaysReadyHttp }
  { name: 'function:deliver', instanceCount: alwaysReadyDeliver }
]
var alwaysReady = filter(groups, each => each.instanceCount > 0)

resource app 'Microsoft.Web/sites@2024-04-01' = {
  // checkov:skip=CKV_AZURE_17:callers have keys or tokens
  // checkov:skip=CKV_AZURE_78:Flex is deployed to through its container alone, and the policies below refuse FTP's passwords
  // checkov:skip=CKV_AZURE_212:it scales to zero by design; ALWAYS_READY_HTTP and ALWAYS_READY_DELIVER keep instances warm
  // checkov:skip=CKV_AZURE_213:with no instance there is nothing to probe; alerts watch the sweeps instead
  // checkov:skip=CKV_AZURE_222:callers are outside; keys or tokens guard it
  name: name
  location: location
  tags: union(tags, { 'azd-service-name': 'bridge' })
  kind: 'functionapp,linux'
  identity: {
    type: 'UserAssigned'
    userAssignedIdentities: { '${identityId}': {} }
  }
  properties: {
    serverFarmId: plan.id
    httpsOnly: true
    keyVaultReferenceIdentity: identityId
    virtualNetworkSubnetId: empty(subnetId) ? null : subnetId
    siteConfig: {
      minTlsVersion: '1.2'
      http20Enabled: true
    }
    functionAppConfig: {
      deployment: {
        storage: {
          type: 'blobContainer'
          value: '${storage.properties.primaryEndpoints.blob}${containerName}'
          authentication: {
            type: 'UserAssignedIdentity'
            userAssignedIdentityResourceId: identityId
          }
        }
      }
      runtime: { name: 'python', version: '3.13' }
      scaleAndConcurrency: {
        instanceMemoryMB: instanceMemoryMB
        maximumInstanceCount: maximumInstanceCount
        alwaysReady: alwaysReady
        triggers: {
          http: { perInstanceConcurrency: httpPerInstanceConcurrency }
        }
      }
    }
  }
}

var fromVault = toObject(
  keyVariables,
  variable => variable,
  variable => '@Microsoft.KeyVault(SecretUri=${secretsUri}/${replace(variable, '_', '-')})'
)

// An empty value counts as absent: the app's own default holds.
resource appSettings 'Microsoft.Web/sites/config@2024-04-01' = {
  // checkov:skip=CKV_AZURE_13:variables of the app, and not the configuration that this reads
  // checkov:skip=CKV_AZURE_63:variables of the app, and not the configuration that this reads
  // checkov:skip=CKV_AZURE_65:variables of the app, and not the configuration that this reads
  // checkov:skip=CKV_AZURE_66:variables of the app, and not the configuration that this reads
  // checkov:skip=CKV_AZURE_80:variables of the app, and not the configuration that this reads
  // checkov:skip=CKV_AZURE_88:variables of the app, and not the configuration that this reads
  // checkov:skip=CKV_AZURE_222:variables of the app, and not the configuration that this reads
  parent: app
  name: 'appsettings'
  properties: union(settings, fromVault, {
    // The name and all three addresses: with one alone, triggers have lost races at startup.
    AzureWebJobsStorage__accountName: storage.name
    AzureWebJobsStorage__blobServiceUri: storage.properties.primaryEndpoints.blob
    AzureWebJobsStorage__queueServiceUri: storage.properties.primaryEndpoints.queue
    AzureWebJobsStorage__tableServiceUri: storage.properties.primaryEndpoints.table
    AzureWebJobsStorage__credential: 'managedidentity'
    AzureWebJobsStorage__clientId: clientId
    APPLICATIONINSIGHTS_CONNECTION_STRING: insights.properties.ConnectionString
    APPLICATIONINSIGHTS_AUTHENTICATION_STRING: 'ClientId=${clientId};Authorization=AAD'
    PYTHON_THREADPOOL_THREAD_COUNT: '32'
    SPEECH_ENDPOINT: speechEndpoint
    SPEECH_KEY: speechUsesKey ? '@Microsoft.KeyVault(SecretUri=${secretsUri}/SPEECH-KEY)' : ''
    BRIDGE_SIGNING_KEYS: '@Microsoft.KeyVault(SecretUri=${secretsUri}/BRIDGE-SIGNING-KEYS)'
  })
}

// azd deploys with a token; the publishing passwords are for nobody.
resource publishing 'Microsoft.Web/sites/basicPublishingCredentialsPolicies@2024-04-01' = [
  for way in ['ftp', 'scm']: {
    parent: app
    name: way
    properties: { allow: false }
  }
]

output id string = app.id
output name string = app.name
output url string = 'https://${app.properties.defaultHostName}'
