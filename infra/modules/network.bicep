// A virtual network: the app's instances in one half, private endpoints in the other, one address to the outside.
param name string
param location string
param tags object
param range string
@description('The networks that callbacks may go to, separated by commas: BRIDGE_CALLBACK_ALLOWED_NETWORKS.')
param callbackNetworks string

var appRange = cidrSubnet(range, 26, 0)
var endpointsRange = cidrSubnet(range, 26, 1)

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

// The range of the network is IPv4: a rule with an IPv6 range could match nothing.
var callbackRanges = filter(
  map(split(callbackNetworks, ','), network => trim(network)),
  network => !empty(network) && !contains(network, ':')
)

// The app checks each address that it connects to. These rules are a second check: out of the app's subnet lead only
// the private endpoints, the networks that the operator allows for callbacks, and the internet.
resource appRules 'Microsoft.Network/networkSecurityGroups@2024-01-01' = {
  name: '${name}-app'
  location: location
  tags: tags
  properties: {
    securityRules: concat(
      [
        {
          name: 'endpoints'
          properties: {
            priority: 100
            direction: 'Outbound'
            access: 'Allow'
            protocol: 'Tcp'
            sourceAddressPrefix: appRange
            sourcePortRange: '*'
            destinationAddressPrefix: endpointsRange
            destinationPortRange: '443'
          }
        }
        {
          name: 'within'
          properties: {
            priority: 110
            direction: 'Outbound'
            access: 'Allow'
            protocol: '*'
            sourceAddressPrefix: appRange
            sourcePortRange: '*'
            destinationAddressPrefix: appRange
            destinationPortRange: '*'
          }
        }
        {
          name: 'nothing-else-in-the-network'
          properties: {
            priority: 4000
            direction: 'Outbound'
            access: 'Deny'
            protocol: '*'
            sourceAddressPrefix: '*'
            sourcePortRange: '*'
            destinationAddressPrefix: 'VirtualNetwork'
            destinationPortRange: '*'
          }
        }
      ],
      map(callbackRanges, (network, index) => {
        name: 'callbacks-${index}'
        properties: {
          priority: 200 + index
          direction: 'Outbound'
          access: 'Allow'
          protocol: 'Tcp'
          sourceAddressPrefix: appRange
          sourcePortRange: '*'
          destinationAddressPrefix: network
          destinationPortRange: '*'
        }
      })
    )
  }
}

resource endpointsRules 'Microsoft.Network/networkSecurityGroups@2024-01-01' = {
  name: '${name}-endpoints'
  location: location
  tags: tags
  properties: {
    securityRules: [
      {
        name: 'https'
        properties: {
          priority: 100
          direction: 'Inbound'
          access: 'Allow'
          protocol: 'Tcp'
          sourceAddressPrefix: 'VirtualNetwork'
          sourcePortRange: '*'
          destinationAddressPrefix: endpointsRange
          destinationPortRange: '443'
        }
      }
      {
        name: 'nothing-else'
        properties: {
          priority: 4000
          direction: 'Inbound'
          access: 'Deny'
          protocol: '*'
          sourceAddressPrefix: '*'
          sourcePortRange: '*'
          destinationAddressPrefix: '*'
          destinationPortRange: '*'
        }
      }
    ]
  }
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
    addressPrefix: appRange
    natGateway: { id: gateway.id }
    networkSecurityGroup: { id: appRules.id }
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
    addressPrefix: endpointsRange
    networkSecurityGroup: { id: endpointsRules.id }
    // Rules hold for private endpoints too.
    privateEndpointNetworkPolicies: 'NetworkSecurityGroupEnabled'
  }
}

output outboundAddress string = address.properties.ipAddress
output networkId string = network.id
output appSubnetId string = appSubnet.id
output endpointsSubnetId string = endpointsSubnet.id
