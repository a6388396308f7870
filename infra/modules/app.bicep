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
param allowedRanges string[]
param vaultUri string
param speechEndpoint string
param speechRegionalEndpoint string
param speechUsesKey bool
param settings object
param keyVariables string[]

resource storage 'Microsoft.Storage/storageAccounts@2023-05-01' existing = {
  name: storageName
}

resource insights 'Microsoft.Insights/components@2020-02-02' existing = {
  name: insightsName
}

resource plan 'Microsoft.Web/serverfarms@2024-11-01' = {
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

resource app 'Microsoft.Web/sites@2024-11-01' = {
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
      scmMinTlsVersion: '1.2'
      ftpsState: 'Disabled'
      http20Enabled: true
      // Deployments go to another host name, which is not restricted: azd authenticates there.
      ipSecurityRestrictionsDefaultAction: empty(allowedRanges) ? 'Allow' : 'Deny'
      ipSecurityRestrictions: [
        for (range, index) in allowedRanges: {
          name: 'allowed-${index}'
          priority: 100 + index
          action: 'Allow'
          ipAddress: range
        }
      ]
      scmIpSecurityRestrictionsUseMain: false
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
      // Instances are replaced one after another and finish their invocations: the default ends all of them at once.
      #disable-next-line BCP037 // the compiler's types of this version lack the property, the API has it
      siteUpdateStrategy: { type: 'RollingUpdate' }
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
  variable => '@Microsoft.KeyVault(SecretUri=${vaultUri}secrets/${replace(variable, '_', '-')}/)'
)
var otherEndpoints = filter(
  [speechRegionalEndpoint, settings.?SPEECH_OTHER_ENDPOINTS ?? ''],
  endpoint => !empty(endpoint)
)

// An empty value counts as absent: the app's own default holds.
resource appSettings 'Microsoft.Web/sites/config@2024-11-01' = {
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
    // The host reads a body before the app can refuse it; the app takes far less.
    FUNCTIONS_REQUEST_BODY_SIZE_LIMIT: '1048576'
    AzureWebJobsDisableHomepage: 'true'
    SPEECH_ENDPOINT: speechEndpoint
    SPEECH_OTHER_ENDPOINTS: join(otherEndpoints, ',')
    // With a slash at the end a reference means the newest version of a secret.
    SPEECH_KEY: speechUsesKey ? '@Microsoft.KeyVault(SecretUri=${vaultUri}secrets/SPEECH-KEY/)' : ''
    BRIDGE_SIGNING_KEYS: '@Microsoft.KeyVault(SecretUri=${vaultUri}secrets/BRIDGE-SIGNING-KEYS/)'
  })
}

// azd deploys with a token: publishing passwords are refused.
resource ftpPasswords 'Microsoft.Web/sites/basicPublishingCredentialsPolicies@2024-11-01' = {
  parent: app
  name: 'ftp'
  properties: { allow: false }
}

resource scmPasswords 'Microsoft.Web/sites/basicPublishingCredentialsPolicies@2024-11-01' = {
  parent: app
  name: 'scm'
  properties: { allow: false }
}

output id string = app.id
output name string = app.name
output url string = 'https://${app.properties.defaultHostName}'
