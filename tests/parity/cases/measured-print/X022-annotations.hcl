target "default" { annotations = null }
