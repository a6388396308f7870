// A virtual network: the app's instances in one half, private endpoints in the other, one address to the outside.
param name string
param location string
param tags object
param range string

resource address 'Microsoft.Network/publicIPAddresses@2024-01-01' = {
  name: '${name}-out'
  location: location
  tags: tags
  sku: { name: 'Standard' }
  properties: { publicIPAllocationMethod: 'Static' }
}

// Callbacks leave through it: receivers can allow one address, and nothing depends on Azure's default outbound access.
resource gateway 'Microsoft.Network/natGateways@2024-01-01' = {
  name: '${name}-nat'
  location: location
  tags: tags
  sku: { name: 'Standard' }
  properties: {
    publicIpAddresses: [{ id: address.id }]
  }
}

// Neither subnet is a way in: the app's has no listener, and only storage and vault answer in the other.
resource rules 'Microsoft.Network/networkSecurityGroups@2024-01-01' = {
  name: '${name}-nsg'
  location: location
  tags: tags
  properties: {}
}

resource network 'Microsoft.Network/virtualNetworks@2024-01-01' = {
  name: name
  location: location
  tags: tags
  properties: {
    addressSpace: { addressPrefixes: [range] }
  }
}

resource appSubnet 'Microsoft.Network/virtualNetworks/subnets@2024-01-01' = {
  parent: network
  name: 'app'
  properties: {
    addressPrefix: cidrSubnet(range, 26, 0)
    natGateway: { id: gateway.id }
    networkSecurityGroup: { id: rules.id }
    delegations: [
      {
        name: 'flex-consumption'
        properties: { serviceName: 'Microsoft.App/environments' }
      }
    ]
  }
}

resource endpointsSubnet 'Microsoft.Network/virtualNetworks/subnets@2024-01-01' = {
  parent: network
  name: 'endpoints'
  // A network takes one change of its subnets at a time.
  dependsOn: [appSubnet]
  properties: {
    addressPrefix: cidrSubnet(range, 26, 1)
    networkSecurityGroup: { id: rules.id }
  }
}

output networkId string = network.id
output appSubnetId string = appSubnet.id
output endpointsSubnetId string = endpointsSubnet.id
