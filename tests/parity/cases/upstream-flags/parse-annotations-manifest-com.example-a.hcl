target "default" { annotations = ["manifest:com.example=a"] }
