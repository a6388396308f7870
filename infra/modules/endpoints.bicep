// Private endpoints of storage and vault, each with the zone by which its usual name leads to it.
param location string
param tags object
param networkId string
param subnetId string
param storageId string
param storageName string
param vaultId string
param vaultName string

var storageSuffix = environment().suffixes.storage
var targets = [
  { name: '${storageName}-blob', group: 'blob', id: storageId, zone: 'privatelink.blob.${storageSuffix}' }
  { name: '${storageName}-queue', group: 'queue', id: storageId, zone: 'privatelink.queue.${storageSuffix}' }
  { name: '${storageName}-table', group: 'table', id: storageId, zone: 'privatelink.table.${storageSuffix}' }
  { name: vaultName, group: 'vault', id: vaultId, zone: 'privatelink.vaultcore.azure.net' }
]

resource zones 'Microsoft.Network/privateDnsZones@2020-06-01' = [
  for target in targets: {
    name: target.zone
    location: 'global'
    tags: tags
  }
]

resource links 'Microsoft.Network/privateDnsZones/virtualNetworkLinks@2020-06-01' = [
  for (target, index) in targets: {
    parent: zones[index]
    name: 'bridge'
    location: 'global'
    tags: tags
    properties: {
      registrationEnabled: false
      virtualNetwork: { id: networkId }
    }
  }
]

// One at a time: a storage account refuses changes while another one is in progress.
@batchSize(1)
resource endpoints 'Microsoft.Network/privateEndpoints@2024-01-01' = [
  for target in targets: {
    name: 'pe-${target.name}'
    location: location
    tags: tags
    properties: {
      subnet: { id: subnetId }
      privateLinkServiceConnections: [
        {
          name: target.group
          properties: {
            privateLinkServiceId: target.id
            groupIds: [target.group]
          }
        }
      ]
    }
  }
]

resource names 'Microsoft.Network/privateEndpoints/privateDnsZoneGroups@2024-01-01' = [
  for (target, index) in targets: {
    parent: endpoints[index]
    name: 'default'
    properties: {
      privateDnsZoneConfigs: [
        {
          name: target.group
          properties: { privateDnsZoneId: zones[index].id }
        }
      ]
    }
  }
]
