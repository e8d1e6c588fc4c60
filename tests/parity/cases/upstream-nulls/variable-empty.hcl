variable "OUT" { default = "" }
target "default" { output = [OUT] }
