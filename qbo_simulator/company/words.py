"""The names and texts a simulated company is made of: plain, accented, Chinese, Arabic, with emoji and quotes."""

from __future__ import annotations

FIRST_NAMES = [
    "Amy", "Bill", "Carla", "Diego", "Emilia", "Freeman", "Geeta", "Héctor", "Ingrid", "Jeff",
    "Kookies", "Lucía", "Mark", "Nuñez", "Ólafur", "Paulsen", "Quispe", "Rondonuwu", "Sushi", "Travis",
    "Úrsula", "Video", "Wedding", "Ximena", "Yolanda", "Zoë", "Łukasz", "María", "José", "Søren",
    "Chloé", "Jürgen", "Aïcha", "明", "Владимир", "محمد",
]  # fmt: skip
LAST_NAMES = [
    "Andrade", "Bird", "Cool", "Dukes", "Espinosa", "Freight", "García", "Hidalgo", "Iñiguez", "Jácome",
    "Kalapatapu", "Lauterbach", "Morales", "Nieto", "O'Brien",
    "Peña", "Quintero", "Rivadeneira", "Sollfrank", "Tucker",
    "Ureña", "Valarezo", "Weiskopf", "Xu", "Yépez", "Zhang", "Müller", "Sandoval", "Ñahui", "Bravo",
    "Cevallos", "Dávila", "Echeverría", "Flores", "Guerra",
]  # fmt: skip
TRADES = [
    "Bakery", "Barber", "Books", "Botánica", "Café", "Cellars", "Clinic", "Diner", "Electric", "Farms",
    "Ferretería", "Florist", "Fitness", "Gallery", "Garage",
    "Hotel", "Import", "Jardinería", "Kitchen", "Landscaping",
    "Logistics", "Market", "Medical", "Nursery", "Outfitters",
    "Panadería", "Pets", "Plumbing", "Realty", "Roofing",
    "Sanctuary", "Sports", "Studio", "Supplies", "Taller", "Travel",
]  # fmt: skip
ENDINGS = [
    "",
    " Inc.",
    " LLC",
    " & Sons",
    " & Co.",
    " S.A.",
    " Cía. Ltda.",
    ", Ltd",
    " GmbH",
    " Corp.",
    " 🌵",
    " ☕",
    " 花",
]
JOBS = [
    "Kitchen remodel", "Backyard", "Phase 1", "Phase 2", "Rooftop garden", "Ampliación", "Mantenimiento anual",
    "Fence \"A\"", "Oficina Quito", "55 Twin Lane",
]  # fmt: skip
CITIES = [
    ("Bayshore", "CA", "94326"), ("Middlefield", "CA", "94303"), ("South Orange", "NJ", "07079"),
    ("Tucson", "AZ", "85719"), ("Quito", "Pichincha", "170150"), ("Guayaquil", "Guayas", "090313"),
    ("Cuenca", "Azuay", "010107"), ("Montréal", "QC", "H2X 1Y4"), ("Winnipeg", "MB", "R3C 4T3"),
]  # fmt: skip
STREETS = [
    "Finch St.",
    "Main St.",
    "Bird Lane",
    "Av. Amazonas",
    "S. Boise Ave",
    "Rue Sainte-Catherine",
    "Whitesmith Way",
]
GOODS = [
    "Rocks", "Pump", "Fountain", "Sprinkler", "Soil", "Mulch", "Trellis", "Rosebush", "Bench", "Lantern",
    "Pebbles", "Timber", "Gravel", "Hose", "Nozzle", "Fertilizer", "Seeds", "Planter", "Maceta", "Abono",
    "Césped", "Piedra", "Semilla", "Tubería", "Lámpara",
]  # fmt: skip
GRADES = ["", " small", " large", " 10 kg", ' 1/2"', " deluxe", " (verde)", " – import", " Ø 40 mm", " 🌱"]
WORK = [
    "Design", "Installation", "Maintenance", "Trimming", "Lighting",
    "Consulting", "Pest-control", "Delivery", "Diseño", "Instalación",
    "Riego", "Poda", "Asesoría", "Transporte",
]  # fmt: skip
LINE_TEXTS = [
    "Custom design", "Installation of landscape design",
    "Rock fountain, delivered", "Sprinkler heads & drip lines",
    "Mantenimiento mensual del jardín", "Lumber, 2\"x4\", treated", "Weekly gardening service",
    "Consulta técnica 🌿",
    "Soil, 2 cubic ft. bag\nkeep dry", "Path C:\\plans\\north", "Tree and shrub trimming", "Materiales varios",
]  # fmt: skip
MEMOS = [
    "Thank you for your business and have a great day!",
    "¡Gracias por su compra!",
    "It's a pleasure doing business with you. Remember, referrals are appreciated!",
    "Net 30 — please quote the invoice number",
]
NOTES = [
    "",
    "",
    "",
    "Called twice\nleft a message",
    "Paid by check №1447",
    "Entregar en bodega 📦",
    'Back\\slash and "quotes"',
]
# An account's Id, and its whole name with the accounts above it.
INCOME_ACCOUNTS = [
    ("79", "Sales of Product Income"),
    ("1", "Services"),
    ("45", "Landscaping Services"),
    ("48", "Landscaping Services:Job Materials:Fountains and Garden Lighting"),
    ("50", "Landscaping Services:Job Materials:Sprinklers and Drip Systems"),
    ("54", "Landscaping Services:Labor:Maintenance and Repair"),
    ("82", "Design income"),
]
