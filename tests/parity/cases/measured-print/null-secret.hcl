target "default" { secret = null }
