"""What takes the bridge to Azure: templates, and the hooks that azd runs around them."""
