variable "N" { default = null }
target "default" { args = { n = N } }
