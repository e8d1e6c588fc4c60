target "default" { annotations = ["bad:com.example=a"] }
