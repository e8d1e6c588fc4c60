target "default" { dockerfile = "" }
