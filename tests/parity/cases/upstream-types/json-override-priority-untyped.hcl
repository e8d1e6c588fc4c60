variable "V" { default = [1, 2] }
target "default" { args = { v = length(V) } }
