target "default" { pull = null }
