target "default" { labels = null }
