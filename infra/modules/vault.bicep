// The vault of the two things that are secret: the signing key, and a key of Speech where one is used.
param name string
param location string
param tags object
param principalId string
param isPublic bool
param workspaceId string

@secure()
param newSigningKey string

@secure()
param newSpeechKey string

var secretsUser = '4633458b-17de-408a-b874-0445c86b69e6' // Key Vault Secrets User: reads, and lists nothing

resource vault 'Microsoft.KeyVault/vaults@2023-07-01' = {
  name: name
  location: location
  tags: tags
  properties: {
    tenantId: subscription().tenantId
    sku: { family: 'A', name: 'standard' }
    enableRbacAuthorization: true
    enableSoftDelete: true
    softDeleteRetentionInDays: 90
    // A signing key that is lost gives every receiver another secret.
    enablePurgeProtection: true
    publicNetworkAccess: isPublic ? 'Enabled' : 'Disabled'
    networkAcls: {
      defaultAction: isPublic ? 'Allow' : 'Deny'
      bypass: 'AzureServices'
    }
  }
}

// Written through the management plane, so that whoever provisions needs no right to read secrets.
resource signingKey 'Microsoft.KeyVault/vaults/secrets@2023-07-01' = if (!empty(newSigningKey)) {
  parent: vault
  name: 'BRIDGE-SIGNING-KEYS'
  properties: {
    value: newSigningKey
    contentType: 'base64, separated by commas, newest first'
  }
}

resource speechKey 'Microsoft.KeyVault/vaults/secrets@2023-07-01' = if (!empty(newSpeechKey)) {
  parent: vault
  // A vault can refuse a second write of a secret at the same time.
  dependsOn: [signingKey]
  name: 'SPEECH-KEY'
  properties: {
    value: newSpeechKey
    contentType: 'text/plain'
  }
}

resource role 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  name: guid(vault.id, principalId, secretsUser)
  scope: vault
  properties: {
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', secretsUser)
    principalId: principalId
    principalType: 'ServicePrincipal'
  }
}

// Who read or changed a secret, and when: table AZKVAuditLogs.
resource audit 'Microsoft.Insights/diagnosticSettings@2021-05-01-preview' = {
  name: 'audit'
  scope: vault
  properties: {
    workspaceId: workspaceId
    logAnalyticsDestinationType: 'Dedicated'
    logs: [
      { categoryGroup: 'audit', enabled: true }
    ]
  }
}

output id string = vault.id
output name string = vault.name
output vaultUri string = vault.properties.vaultUri
