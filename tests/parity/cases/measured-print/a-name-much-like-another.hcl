variable "FOOBAR" {}
target "default" { args = { v = FOOBAZ } }
