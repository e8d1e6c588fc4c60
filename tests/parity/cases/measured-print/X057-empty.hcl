target "default" { resources = {} }
