target "default" { inherits = null }
